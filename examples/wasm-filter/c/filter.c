/* Decides about an order: the event's data comes on standard input, the decision goes to standard output.
 *
 * LIMIT is the function's own setting (eventyard.toml). What cannot be decided is an error: the exit status says
 * so, and standard error says why. It reads the one number that it needs; a program that needs more takes a JSON
 * library with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char order[1 << 20];

int main(void) {
  order[fread(order, 1, sizeof order - 1, stdin)] = 0;
  const char *key = strstr(order, "\"amount\"");
  const char *value = key ? strchr(key, ':') : NULL;
  char *end = NULL;
  double amount = value ? strtod(value + 1, &end) : 0;
  if (!value || end == value + 1) {
    fprintf(stderr, "the order has no amount\n");
    return 1;
  }
  const char *setting = getenv("LIMIT");
  double limit = setting ? strtod(setting, NULL) : 1000;
  if (amount > limit)
    printf("{\"decision\":\"review\",\"reason\":\"%g is over %g\"}\n", amount, limit);
  else
    printf("{\"decision\":\"accept\"}\n");
  return 0;
}
