// The same in double precision.
#define NUMBERS_ARE_DOUBLE
#include "small.cpp"
