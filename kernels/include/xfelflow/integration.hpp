// Background plane, sum and profile fit of every reflection of a shot;
// xfel_apps/compute/integration_reference.py is the definition.
#pragma once

#include <Kokkos_Core.hpp>
#include <cmath>
#include <xfelflow/arrays.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::integration {

constexpr int max_half = 15;
constexpr int max_pixels = (2 * max_half + 1) * (2 * max_half + 1);
constexpr int n_refits = 3;
constexpr int n_sums = 21;
constexpr int n_start = 64;
constexpr double n_prior = 20.0;
constexpr double mad_to_sigma = 1.4826;

struct Windows {
  Array<const long*> panel;
  Array<const double* [2]> centre;          ///< (fast, slow) in the slab
  Array<const double* [2][2]> to_profile;   ///< pixel offset to profile coordinates
  Array<const long*> half;
  Array<const long*> starts, neighbours;    ///< compressed rows: windows that meet each one's
};

struct Readout {
  Array<const long* [4]> panel;  ///< first slow, stop slow, first fast, stop fast
  Array<const double*> photons_per_adu, bottom_adu, top_adu;  ///< lowest and highest trusted
  double variance;  ///< of a pixel beside counting noise [photon^2]
};

struct Recipe {
  Array<const double**> profile;
  double guard_squared, outlier_sigmas;
};

/// Pixels of one kind: offsets from the centre and photons, in parallel arrays.
struct Pixels {
  int n = 0;
  double x[max_pixels], y[max_pixels], photons[max_pixels];

  KOKKOS_INLINE_FUNCTION void add(double dx, double dy, double value) {
    x[n] = dx;
    y[n] = dy;
    photons[n++] = value;
  }
};

/// value + fast x + slow y, and the covariance of the three (xx, xy ... of a symmetric matrix).
struct Plane {
  double value = 0.0, fast = 0.0, slow = 0.0;
  double c00 = 0.0, c01 = 0.0, c02 = 0.0, c11 = 0.0, c12 = 0.0, c22 = 0.0;
  double variance = 0.0;
  int n_used = 0, n_rejected = 0;
  double level_scale = 1.0, level_floor = 1.0, level_offset = 0.0;

  /// Variance of pixels where the plane is `background`.
  KOKKOS_INLINE_FUNCTION double level(double background) const {
    return level_scale * ((background > level_floor ? background : level_floor) + level_offset);
  }

  KOKKOS_INLINE_FUNCTION double at(double x, double y) const { return value + fast * x + slow * y; }

  /// Variance of a sum of the plane with weights' zeroth and first moments w0, w1, w2.
  KOKKOS_INLINE_FUNCTION double spread(double w0, double w1, double w2) const {
    return w0 * w0 * c00 + w1 * w1 * c11 + w2 * w2 * c22 + 2.0 * (w0 * w1 * c01 + w0 * w2 * c02 + w1 * w2 * c12);
  }
};

/// The value of rank n / 2 (the lower of two middle ones); the order of `v` is lost. Hoare's selection.
KOKKOS_INLINE_FUNCTION double lower_median(double* v, int n) {
  const int k = (n - 1) / 2;
  int low = 0, high = n - 1;
  while (low < high) {
    const double pivot = v[(low + high) / 2];
    int i = low, j = high;
    while (i <= j) {
      while (v[i] < pivot) ++i;
      while (pivot < v[j]) --j;
      if (i > j) break;
      const double swap = v[i];
      v[i++] = v[j];
      v[j--] = swap;
    }
    if (k <= j) high = j;
    else if (k >= i) low = i;
    else break;
  }
  return v[k];
}

/// Whether counts are within some sigmas of the background, on a scale where the deviation is about 1
/// (Anscombe 1948): with level = background + 3/8 + noise, |sqrt(photons ...) - sqrt(level)| <= sigmas / 2.
KOKKOS_INLINE_FUNCTION bool is_near(double photons, double background, double noise, double sigmas) {
  const double half = 0.5 * sigmas, root = sqrt((background > 0.0 ? background : 0.0) + 0.375 + noise);
  const double away = photons - background, low = root - half;
  return (away <= half * (2.0 * root + half)) & ((low <= 0.0) | (away >= half * (half - 2.0 * root)));
}

/// Least-squares plane through the used pixels; without slopes where they are not determined.
KOKKOS_INLINE_FUNCTION void least_squares(const Pixels& pixels, const double* used, Plane& plane) {
  double n = 0.0, x = 0.0, y = 0.0, xx = 0.0, xy = 0.0, yy = 0.0, p = 0.0, px = 0.0, py = 0.0;
  XFELFLOW_SIMD(reduction(+ : n, x, y, xx, xy, yy, p, px, py))
  for (int i = 0; i < pixels.n; ++i) {
    const double w = used[i], wx = w * pixels.x[i], wy = w * pixels.y[i], v = pixels.photons[i];
    n += w;
    x += wx;
    y += wy;
    xx += wx * pixels.x[i];
    xy += wx * pixels.y[i];
    yy += wy * pixels.y[i];
    p += w * v;
    px += wx * v;
    py += wy * v;
  }
  const double m00 = xx * yy - xy * xy, m01 = y * xy - x * yy, m02 = x * xy - y * xx;
  const double det = n * m00 + x * m01 + y * m02;
  plane.c01 = plane.c02 = plane.c11 = plane.c12 = plane.c22 = 0.0;
  plane.c00 = 1.0 / n;
  if (det > 1e-6 * n * n * n) {
    plane.c00 = m00 / det;
    plane.c01 = m01 / det;
    plane.c02 = m02 / det;
    plane.c11 = (n * yy - y * y) / det;
    plane.c12 = (x * y - n * xy) / det;
    plane.c22 = (n * xx - x * x) / det;
  }
  plane.value = plane.c00 * p + plane.c01 * px + plane.c02 * py;
  plane.fast = plane.c01 * p + plane.c11 * px + plane.c12 * py;
  plane.slow = plane.c02 * p + plane.c12 * px + plane.c22 * py;
}

/// Plane through the background pixels, those too far from it rejected.
KOKKOS_INLINE_FUNCTION Plane fit_plane(const Pixels& pixels, double variance, double sigmas) {
  Plane plane;
  plane.level_offset = variance;
  if (pixels.n == 0) return plane;
  double work[max_pixels] = {};
  const int step = pixels.n < n_start ? 1 : pixels.n / n_start, n_sample = (pixels.n + step - 1) / step;
  for (int i = 0; i < n_sample; ++i) work[i] = pixels.photons[i * step];
  plane.value = lower_median(work, n_sample);
  for (int i = 0; i < n_sample; ++i) work[i] = std::fabs(work[i] - plane.value);
  const double sigma = mad_to_sigma * lower_median(work, n_sample);
  const double excess = sigma * sigma - (plane.value > 0.0 ? plane.value : 0.0);
  const double noise = excess > variance ? excess : variance;
  double* used = work;  // 1 or 0
  for (int i = 0; i < pixels.n; ++i) used[i] = 0.0;
  for (int refit = 0; refit < n_refits; ++refit) {
    double n_used = 0.0, n_changed = 0.0;
    XFELFLOW_SIMD(reduction(+ : n_used, n_changed))
    for (int i = 0; i < pixels.n; ++i) {
      const double near = is_near(pixels.photons[i], plane.at(pixels.x[i], pixels.y[i]), noise, sigmas) ? 1.0 : 0.0;
      n_changed += near == used[i] ? 0.0 : 1.0;
      n_used += near;
      used[i] = near;
    }
    plane.n_used = static_cast<int>(n_used);
    plane.n_rejected = pixels.n - plane.n_used;
    if (refit > 0 && n_changed == 0.0) break;  // the same pixels give the same plane
    if (plane.n_used == 0) {
      plane.c00 = plane.c01 = plane.c02 = plane.c11 = plane.c12 = plane.c22 = 0.0;
      return plane;
    }
    least_squares(pixels, used, plane);
  }
  double squares = 0.0;
  XFELFLOW_SIMD(reduction(+ : squares))
  for (int i = 0; i < pixels.n; ++i) {
    const double away = pixels.photons[i] - plane.at(pixels.x[i], pixels.y[i]);
    squares += used[i] * away * away;
  }
  plane.variance = squares / plane.n_used;
  plane.level_floor = 1.0 / plane.n_used;
  const double expected = plane.level(plane.value);
  plane.level_scale = (plane.n_used * plane.variance / expected + n_prior) / (plane.n_used + n_prior);
  for (double* c : {&plane.c00, &plane.c01, &plane.c02, &plane.c11, &plane.c12, &plane.c22})
    *c *= plane.level_scale * expected;
  return plane;
}

/// Variance of counting a spot that `photons` were found of.
KOKKOS_INLINE_FUNCTION double counting_variance(double photons) {
  const double found = photons > 0.0 ? photons : 0.0;
  return found + 2.0 * (found + 0.3) / (found + 1.0);
}

/// Share of the spot at profile coordinates in the unit disc: bilinear in the table.
KOKKOS_INLINE_FUNCTION double profile_at(const Array<const double**>& profile, double u, double v) {
  const int last = static_cast<int>(profile.extent(0)) - 1;
  const auto place = [last](double t) {
    const double p = (t + 1.0) * (0.5 * last);
    return p < 0.0 ? 0.0 : (p > last ? static_cast<double>(last) : p);
  };
  const double a = place(u), b = place(v);
  const int i = static_cast<int>(a) < last ? static_cast<int>(a) : last - 1;
  const int j = static_cast<int>(b) < last ? static_cast<int>(b) : last - 1;
  const double fi = a - i, fj = b - j;
  const double low = profile(j, i) * (1.0 - fi) + profile(j, i + 1) * fi;
  const double high = profile(j + 1, i) * (1.0 - fi) + profile(j + 1, i + 1) * fi;
  return low * (1.0 - fj) + high * fj;
}

template <class Pixel>
struct Integrate {
  Array<const Pixel**> frame;
  Array<const unsigned char**> good;
  Windows windows;
  Readout readout;
  Recipe recipe;
  Array<double* [n_sums]> sums;

  /// Usable foreground pixels with their share of the spot and profile coordinates, and the others' number.
  struct Foreground {
    Pixels pixels;
    double share[max_pixels], u[max_pixels], v[max_pixels];
    double total_share = 0.0, used_share = 0.0;
    int n = 0, n_masked = 0, n_outside = 0, n_saturated = 0, n_shared = 0;
  };

  KOKKOS_INLINE_FUNCTION void operator()(const int row) const {
    Foreground fore;
    Pixels back;
    sort_pixels(row, fore, back);
    const Plane plane = fit_plane(back, readout.variance, recipe.outlier_sigmas);
    for (int i = 0; i < fore.pixels.n; ++i)
      fore.share[i] = fore.total_share > 0.0 ? fore.share[i] / fore.total_share : 1.0 / fore.n;
    fore.used_share = fore.total_share > 0.0 ? fore.used_share / fore.total_share
                                             : fore.pixels.n / (fore.n > 0 ? fore.n : 1.0);
    double* out = &sums(row, 0);
    add_up(fore, plane, out);
    fit_profile(fore, plane, out);
    const double known[] = {plane.value, plane.fast, plane.slow, plane.variance,
                            static_cast<double>(plane.n_used), static_cast<double>(plane.n_rejected),
                            static_cast<double>(fore.pixels.n), static_cast<double>(fore.n_masked),
                            static_cast<double>(fore.n_outside), static_cast<double>(fore.n_saturated),
                            static_cast<double>(fore.n_shared), fore.used_share};
    for (int i = 0; i < 12; ++i) out[4 + i] = known[i];
  }

  /// The pixels of one window, in rows along fast: a square of `side` from (fast0, slow0).
  struct Square {
    long fast0, slow0;
    int side;
  };

  /// Ellipse of a reflection: centre in the slab and the matrix to profile coordinates.
  struct Ellipse {
    double x, y, uf, us, vf, vs;
  };

  KOKKOS_INLINE_FUNCTION Ellipse ellipse(int row) const {
    return {windows.centre(row, 0),        windows.centre(row, 1),        windows.to_profile(row, 0, 0),
            windows.to_profile(row, 0, 1), windows.to_profile(row, 1, 0), windows.to_profile(row, 1, 1)};
  }

  /// Mark pixels in the guarded ellipse of a neighbour (1), and in its foreground (2).
  KOKKOS_INLINE_FUNCTION void look_around(int row, const Square& square, unsigned char* near) const {
    for (int i = 0; i < square.side * square.side; ++i) near[i] = 0;
    for (long k = windows.starts(row); k < windows.starts(row + 1); ++k) {
      const Ellipse e = ellipse(static_cast<int>(windows.neighbours(k)));
      for (int j = 0; j < square.side; ++j) {
        const double y = square.slow0 + j + 0.5 - e.y, x0 = square.fast0 + 0.5 - e.x;
        unsigned char* line = near + j * square.side;
        for (int i = 0; i < square.side; ++i) {
          const double x = x0 + i, u = e.uf * x + e.us * y, v = e.vf * x + e.vs * y, r2 = u * u + v * v;
          line[i] |= (r2 <= recipe.guard_squared ? 1 : 0) | (r2 <= 1.0 ? 2 : 0);
        }
      }
    }
  }

  KOKKOS_INLINE_FUNCTION void sort_pixels(int row, Foreground& fore, Pixels& back) const {
    const long panel = windows.panel(row), half = windows.half(row);
    const Ellipse e = ellipse(row);
    const Square square{static_cast<long>(std::floor(e.x)) - half, static_cast<long>(std::floor(e.y)) - half,
                        static_cast<int>(2 * half + 1)};
    unsigned char near[max_pixels];
    look_around(row, square, near);
    const long top = readout.panel(panel, 0), bottom = readout.panel(panel, 1), left = readout.panel(panel, 2),
               right = readout.panel(panel, 3);
    const double scale = readout.photons_per_adu(panel), low = readout.bottom_adu(panel), high = readout.top_adu(panel);
    for (int index = 0, column = 0, line = 0; index < square.side * square.side; ++index, ++column) {
      if (column == square.side) column = 0, ++line;
      const long slow = square.slow0 + line, fast = square.fast0 + column;
      const double dx = fast + 0.5 - e.x, dy = slow + 0.5 - e.y;
      const double u = e.uf * dx + e.us * dy, v = e.vf * dx + e.vs * dy, r2 = u * u + v * v;
      if (r2 > 1.0 && (r2 <= recipe.guard_squared || near[index] != 0)) continue;
      const bool inside = slow >= top && slow < bottom && fast >= left && fast < right;
      const double adu = inside ? static_cast<double>(frame(slow, fast)) : 0.0;
      const bool usable = inside && good(slow, fast) != 0 && adu >= low;  // NaN is not
      const bool saturated = usable && adu > high;
      if (r2 > 1.0) {
        if (usable && !saturated) back.add(dx, dy, adu * scale);
        continue;
      }
      const double share = profile_at(recipe.profile, u, v);
      const bool shared = (near[index] & 2) != 0;
      fore.total_share += share;
      ++fore.n;
      fore.n_masked += inside && !usable;
      fore.n_outside += !inside;
      fore.n_saturated += saturated;
      fore.n_shared += usable && shared;
      if (!usable || shared) continue;
      fore.used_share += share;
      fore.share[fore.pixels.n] = share;
      fore.u[fore.pixels.n] = u;
      fore.v[fore.pixels.n] = v;
      fore.pixels.add(dx, dy, adu * scale);
    }
  }

  /// Sum, its variance and the moments.
  KOKKOS_INLINE_FUNCTION void add_up(const Foreground& fore, const Plane& plane, double* out) const {
    double total = 0.0, variance = 0.0, w1 = 0.0, w2 = 0.0;
    double moments[5] = {0.0, 0.0, 0.0, 0.0, 0.0};
    for (int i = 0; i < fore.pixels.n; ++i) {
      const double x = fore.pixels.x[i], y = fore.pixels.y[i], background = plane.at(x, y);
      const double net = fore.pixels.photons[i] - background, u = fore.u[i], v = fore.v[i];
      total += net;
      variance += plane.level(background);
      w1 += x;
      w2 += y;
      const double terms[] = {u, v, u * u, u * v, v * v};
      for (int k = 0; k < 5; ++k) moments[k] += net * terms[k];
    }
    const double whole = fore.used_share > 0.0 ? fore.used_share : 1.0;
    out[0] = total / whole;
    out[1] = (counting_variance(total) + variance + plane.spread(fore.pixels.n, w1, w2)) / (whole * whole);
    for (int k = 0; k < 5; ++k) out[16 + k] = total > 0.0 ? moments[k] / total : 0.0;
  }

  /// Intensity that best scales the profile to the pixels, and its variance.
  KOKKOS_INLINE_FUNCTION void fit_profile(const Foreground& fore, const Plane& plane, double* out) const {
    double fitted = out[0], variance = out[1];
    for (int refit = 0; refit < n_refits; ++refit) {
      const double counted = counting_variance(fitted);
      double power = 0.0, sum = 0.0, w0 = 0.0, w1 = 0.0, w2 = 0.0;
      for (int i = 0; i < fore.pixels.n; ++i) {
        const double x = fore.pixels.x[i], y = fore.pixels.y[i], background = plane.at(x, y), p = fore.share[i];
        const double weight = p / (plane.level(background) + p * counted);
        power += p * weight;
        sum += (fore.pixels.photons[i] - background) * weight;
        w0 += weight;
        w1 += weight * x;
        w2 += weight * y;
      }
      if (power <= 0.0) break;
      fitted = sum / power;
      variance = 1.0 / power + plane.spread(w0 / power, w1 / power, w2 / power);
    }
    out[2] = fitted;
    out[3] = variance;
  }
};

}  // namespace xfelflow::integration
