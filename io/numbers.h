/* Numbers as files store them, in blocks, to and from f64: exact on reading, one rounding on
 * writing. */
#pragma once
#include <plumb/base.h>

/* dst[i] = src[i] for n numbers of a float type; src needs no alignment. */
void plumb_numbers_decode(enum plumb_dtype t, const void *src, int64_t n, double *dst);
/* The same from bytes with so many bits of exponent (arXiv:2209.05433): 4, E4M3, no infinity and
 * one NaN; 5, E5M2, as IEEE has it; 8, E8M0 of the OCP MX formats, powers of two without a sign. */
void plumb_numbers_of_f8(int exponent_bits, const void *src, int64_t n, double *dst);
/* The nearest number of type t, ties to even, overflow to infinity; dst needs no alignment. */
void plumb_numbers_encode(enum plumb_dtype t, const double *src, int64_t n, void *dst);
