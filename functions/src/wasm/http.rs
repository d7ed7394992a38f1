//! Components of WASI 0.2 that answer HTTP requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use wasmtime::Engine;
use wasmtime::component::types::{self, ComponentItem};
use wasmtime::component::{Component, ResourceTable, Type};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::call::{self, Record};
use super::engine::Runtime;
use super::limits::{HANDLES_MAX, Limits};
use super::outbound::{Outbound, OutboundHooks};
use super::{WasmConfig, WasmError};
use crate::{Invocation, InvocationError};

/// What is exported by a component that can be called.
const HANDLER: &str = "wasi:http/incoming-handler@0.2";

/// The longest that a function may ask to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How much of an answer stands in an error's text.
const ANSWER_SHOWN_CHARS_MAX: usize = 256;

/// What code of one call has.
pub(super) struct HttpState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: OutboundHooks,
    limits: Limits,
}

impl WasiView for HttpState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for HttpState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Holds a component against what a function must be, and prepares its instances.
pub(super) fn prepare(runtime: &Runtime, component: &Component) -> Result<ProxyPre<HttpState>, WasmError> {
    const HELP: &str = "make a component of the world wasi:http/proxy 0.2, or compile a WASI 0.1 command module";
    let refuse = |problem: String| WasmError::NotAFunction { problem, help: HELP };
    let (engine, ty) = (&runtime.engine, component.component_type());
    let handler = ty.exports(engine).find_map(|(name, export)| match export.ty {
        ComponentItem::ComponentInstance(handler) if name.starts_with(HANDLER) => Some(handler),
        _ => None,
    });
    let Some(handler) = handler else {
        let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
        let what = match exports.as_slice() {
            [] => "it exports nothing".to_owned(),
            some => format!("it exports {}", some.join(", ")),
        };
        return Err(refuse(format!("{what}, and not wasi:http/incoming-handler 0.2, by which it would be called")));
    };
    let instance = runtime.components.instantiate_pre(component).map_err(|error| refuse(format!("{error:#}")))?;
    if !is_handle(engine, &ty, &handler) {
        let problem = "its `handle` is another one than that of wasi:http/incoming-handler 0.2, which takes a request and \
                       a place for the response, and gives nothing";
        return Err(refuse(problem.to_owned()));
    }
    ProxyPre::new(instance).map_err(|error| refuse(format!("{error:#}")))
}

/// Whether an instance has `handle: func(request: incoming-request, response-out: response-outparam)`. The engine
/// itself would find that out at the first call.
fn is_handle(engine: &Engine, component: &types::Component, handler: &types::ComponentInstance) -> bool {
    let Some(ComponentItem::ComponentFunc(handle)) = handler.get_export(engine, "handle").map(|export| export.ty)
    else {
        return false;
    };
    let resource = |wanted: &str| {
        component.imports(engine).find_map(|(name, import)| match import.ty {
            ComponentItem::ComponentInstance(types) if name.starts_with("wasi:http/types@0.2") => {
                match types.get_export(engine, wanted)?.ty {
                    ComponentItem::Resource(resource) => Some(resource),
                    _ => None,
                }
            }
            _ => None,
        })
    };
    let wanted = [resource("incoming-request"), resource("response-outparam")];
    let taken = handle.params().map(|(_, ty)| match ty {
        Type::Own(resource) => Some(resource),
        _ => None,
    });
    handle.results().len() == 0 && !handle.async_() && wanted.iter().all(Option::is_some) && taken.eq(wanted)
}

/// Runs one call; the body of the answer is in the record.
pub(super) async fn run(
    runtime: Arc<Runtime>,
    program: ProxyPre<HttpState>,
    config: Arc<WasmConfig>,
    outbound: Arc<Outbound>,
    invocation: Invocation,
    record: Arc<Record>,
) -> Result<(), InvocationError> {
    let request = request(&config, &invocation)
        .map_err(|problem| InvocationError::Runtime { problem, stderr_tail: String::new() })?;
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES_MAX);
    let state = HttpState {
        wasi: call::wasi(&config, &invocation, &record, Bytes::new()).build(),
        http: WasiHttpCtx::new(),
        table,
        hooks: OutboundHooks::new(outbound, Arc::clone(&record)),
        limits: Limits::new(config.memory_bytes_max, Arc::clone(&record)),
    };
    let _running = runtime.running();
    let mut store = call::store(&runtime, state, |state| &mut state.limits, Arc::clone(&record));
    let (sender, answered) = oneshot::channel();
    // Owns the store: when the code has ended the store goes, and with it whatever the answer might still wait for.
    let running = async move {
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let answer = store.data_mut().http().new_response_outparam(sender)?;
        let proxy = program.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await
    };
    let answering = async {
        match answered.await {
            Ok(Ok(response)) => Answered::collect(response, &record).await,
            Ok(Err(code)) => Answered::Failed(code),
            Err(_) => Answered::Nothing,
        }
    };
    let (ended, answered) = tokio::join!(running, answering);
    match ended {
        Ok(()) => judge(answered, &record),
        Err(error) => Err(call::failure(&error, &record)),
    }
}

/// The payload as a request: its content type, the event's attributes where they are not in it, and what a delivery
/// is told by.
fn request(config: &WasmConfig, invocation: &Invocation) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::new(invocation.payload.clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = format!("http://{}/", config.name).parse().map_err(|error| format!("no address: {error}"))?;
    let attempt = invocation.attempt.to_string();
    let own = [("webhook-id", invocation.id.as_str()), ("eventyard-attempt", attempt.as_str())];
    let given = invocation.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in given.chain(own) {
        let refused = || format!("the event's `{name}` cannot stand in a header");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        request.headers_mut().insert(header, HeaderValue::from_str(value).map_err(|_| refused())?);
    }
    if !invocation.content_type.is_empty()
        && let Ok(content_type) = HeaderValue::from_str(&invocation.content_type)
    {
        request.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    Ok(request)
}

/// What came of the answer.
enum Answered {
    /// All of it; the body is in the record.
    Whole { status: StatusCode, retry_after: Option<Duration> },
    /// A status and a part of the body.
    Broken { status: StatusCode },
    /// The component said that it failed.
    Failed(ErrorCode),
    /// The component ended without a word.
    Nothing,
}

impl Answered {
    /// Reads the body, so that the component is never blocked, and keeps what there is room for.
    async fn collect(response: Response<HyperOutgoingBody>, record: &Record) -> Answered {
        let (head, mut body) = response.into_parts();
        let asked = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    if let Some(piece) = frame.data_ref() {
                        record.answer().push(piece);
                    }
                }
                Err(_) => return Answered::Broken { status: head.status },
            }
        }
        let retry_after = asked.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        Answered::Whole { status: head.status, retry_after }
    }
}

fn judge(answered: Answered, record: &Record) -> Result<(), InvocationError> {
    let problem = match answered {
        Answered::Whole { status, .. } if status.is_success() => return Ok(()),
        Answered::Whole { status, retry_after } => {
            let (answer, _) = record.take_answer();
            let answer_head = String::from_utf8_lossy(&answer).chars().take(ANSWER_SHOWN_CHARS_MAX).collect();
            let stderr_tail = record.take_stderr();
            return Err(InvocationError::Status { status: status.as_u16(), retry_after, answer_head, stderr_tail });
        }
        Answered::Broken { status } => format!("it answered {status}, and its answer broke off"),
        Answered::Failed(code) => format!("it said that it failed: {code:?}"),
        Answered::Nothing => "it ended without setting a response".to_owned(),
    };
    Err(InvocationError::NoAnswer { problem, stderr_tail: record.take_stderr() })
}
