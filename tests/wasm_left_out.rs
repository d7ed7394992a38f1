//! A broker that was built without WebAssembly.

use super::support::run;

#[test]
fn the_error_names_the_feature() {
    let folder = tempfile::tempdir().unwrap();
    let main = "[function.filter]\nruntime = \"wasm\"\npackage = \"filter.wasm\"\n";
    std::fs::write(folder.path().join("eventyard.toml"), main).unwrap();
    std::fs::write(folder.path().join("filter.wasm"), "\0asm").unwrap();
    let checked = run(&["check"], folder.path());
    assert_eq!(checked.code, 2);
    let told = checked.stdout + &checked.stderr;
    assert!(told.contains("not_built") && told.contains("feature `wasm`"), "{told}");
}
