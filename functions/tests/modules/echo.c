/* Answers with its input. */
#include <stdio.h>

int main(void) {
  char piece[4096];
  size_t length;
  while ((length = fread(piece, 1, sizeof piece, stdin)) > 0) fwrite(piece, 1, length, stdout);
  return 0;
}
