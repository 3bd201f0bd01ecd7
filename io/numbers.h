/* Numbers as files store them, in blocks, to and from f64: exact on reading, one rounding on
 * writing. */
#pragma once
#include <plumb/base.h>

/* dst[i] = src[i] for n numbers of a float type; src needs no alignment. */
void plumb_numbers_decode(enum plumb_dtype t, const void *src, int64_t n, double *dst);
/* The nearest number of type t, ties to even, overflow to infinity; dst needs no alignment. */
void plumb_numbers_encode(enum plumb_dtype t, const double *src, int64_t n, void *dst);
