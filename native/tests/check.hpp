// check(holds): ends the test with the line that did not hold.
#pragma once

#include <cstdio>
#include <cstdlib>

#define check(holds)                                                       \
  do {                                                                     \
    if (!(holds)) {                                                        \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #holds); \
      std::exit(1);                                                        \
    }                                                                      \
  } while (false)
