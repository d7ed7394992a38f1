/* Tries to reach what a function must not reach, and says what it could see: one line for each thing. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

extern char **environ;

int main(int count, char **arguments) {
  const char *files[] = {"/etc/passwd", "etc/passwd", "../eventyard.toml", "/proc/self/environ", "."};
  for (int i = 0; i < 5; i++) {
    if (fopen(files[i], "r")) printf("file %s\n", files[i]);
    if (opendir(files[i])) printf("folder %s\n", files[i]);
  }
  if (fopen("/tmp/left-behind", "w")) printf("wrote a file\n");
  for (int i = 0; i < count; i++) printf("argument %s\n", arguments[i]);
  for (char **variable = environ; *variable; variable++) printf("variable %s\n", *variable);
  if (time(NULL) > 1500000000) printf("clock\n");
  unsigned char random[16] = {0};
  arc4random_buf(random, sizeof random);
  for (int i = 0; i < 16; i++)
    if (random[i]) {
      printf("random\n");
      break;
    }
  fprintf(stderr, "done\n");
  return 0;
}
