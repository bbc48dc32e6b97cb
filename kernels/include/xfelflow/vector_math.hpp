// Elementary functions without branches or library calls, so that loops over pixels vectorise.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <cstring>

#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define XFELFLOW_SIMD(clauses)
#else
#define XFELFLOW_PRAGMA(text) _Pragma(#text)
#define XFELFLOW_SIMD(clauses) XFELFLOW_PRAGMA(omp simd clauses)
#endif

namespace xfelflow {

// Elementary functions for host and device; a using-declaration of some of them confuses nvcc.
#if KOKKOS_VERSION >= 30700
namespace math = Kokkos;
#else
namespace math = Kokkos::Experimental;
#endif
using math::sqrt;

/// 1.5 * 2^52: adding it leaves the nearest integer of |x| < 2^51 in the low bits.
constexpr double rounding_magic = 6755399441055744.0;

/// Nearest integer of |x| < 2^51, ties to even.
KOKKOS_INLINE_FUNCTION double round_nearest(double x) { return (x + rounding_magic) - rounding_magic; }

/// exp(x) for x <= 0, relative error below 3e-16; 1e-304 or less below -700.
KOKKOS_INLINE_FUNCTION double exp_negative(double x) {
  constexpr double log2_e = 1.4426950408889634, ln2_high = 0.6931471803691238, ln2_low = 1.9082149292705877e-10;
  x = x < -700.0 ? -700.0 : x;
  const double shifted = x * log2_e + rounding_magic;
  const double n = shifted - rounding_magic;
  const double r = (x - n * ln2_high) - n * ln2_low;  // |r| <= ln(2) / 2: 13 terms of Taylor's series
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  std::uint64_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;  // 2^n
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

/// sin(pi x)^2, absolute error below 1e-15.
KOKKOS_INLINE_FUNCTION double sin_pi_squared(double x) {
  constexpr double pi = 3.141592653589793;
  const double r = pi * (x - round_nearest(x)), r2 = r * r;  // |r| <= pi / 2: 10 terms of Taylor's series
  double p = -1.0 / 121645100408832000.0;
  p = p * r2 + 1.0 / 355687428096000.0;
  p = p * r2 - 1.0 / 1307674368000.0;
  p = p * r2 + 1.0 / 6227020800.0;
  p = p * r2 - 1.0 / 39916800.0;
  p = p * r2 + 1.0 / 362880.0;
  p = p * r2 - 1.0 / 5040.0;
  p = p * r2 + 1.0 / 120.0;
  p = p * r2 - 1.0 / 6.0;
  p = p * r2 + 1.0;
  return p * p * r2;
}

}  // namespace xfelflow
