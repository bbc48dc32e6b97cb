// Photons of one crystal's Bragg spots; xfel_apps/compute/forward.py is the definition.
#pragma once

#include <Kokkos_Core.hpp>
#include <xfelflow/arrays.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::forward {

struct Vec3 {
  double x, y, z;
};

/// A processor takes blocks of pixels that vectorise, a GPU one pixel a thread.
constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, Space::memory_space>::accessible;
constexpr int block_size = on_host ? 256 : 1;

/// Lattice intensities below this share of the peak are left out (Gaussian shape only).
constexpr double negligible = 1e-12;
constexpr double gaussian_width = 0.63;

/// A run of at most block_size pixels of one rectangle.
struct Block {
  int rectangle;
  int count;
  long first;   ///< flat index within the rectangle
  long output;  ///< flat index of the first pixel among all
};

struct Rectangles {
  Array<const double* [3]> origin_mm;    ///< outer corner of the first pixel
  Array<const double* [3][2]> axis_mm;   ///< one pixel along fast and slow
  Array<const long* [2]> size;           ///< pixels along fast and slow
};

struct Crystal {
  Array<const double* [3][3]> inverse;   ///< A^-1 of each domain, (n_domains, 3, 3)
  double mean_inverse[3][3];             ///< mean of the above
  double spread;                         ///< greatest |N (A^-1 - mean) q| / |q| of a domain
  double cells[3];                       ///< N: cells of a coherent block
  Array<const double***> intensity;      ///< |F|^2
  int lowest[3];                         ///< Miller index of the first
};

struct Beam {
  Array<const double*> wavelength_ang;
  Array<const double*> fluence;          ///< with r_e^2 / oversample^2 / n_domains in it
  Vec3 direction, polarization_normal;
  double polarization_fraction;
};

/// [sin(pi N d) / sin(pi d)]^2
KOKKOS_INLINE_FUNCTION double grating(double cells, double d) {
  const double below = sin_pi_squared(d);
  const bool peak = below < 1e-20;
  return peak ? cells * cells : sin_pi_squared(cells * d) / (peak ? 1.0 : below);
}

/// |L|^2 at an offset from the nearest Miller index.
template <bool gaussian>
KOKKOS_INLINE_FUNCTION double lattice(const double (&cells)[3], double dh, double dk, double dl) {
  if constexpr (gaussian) {
    const double a = cells[0] * dh, b = cells[1] * dk, c = cells[2] * dl;
    const double peak = cells[0] * cells[1] * cells[2];
    return peak * peak * exp_negative(-2.0 / gaussian_width * (a * a + b * b + c * c));
  } else {
    return grating(cells[0], dh) * grating(cells[1], dk) * grating(cells[2], dl);
  }
}

template <bool gaussian>
struct Photons {
  Rectangles rectangles;
  Crystal crystal;
  Beam beam;
  Array<const Block*> blocks;
  Array<double*> photons;
  int oversample;
  double reach;  ///< |N (h - h0)| beyond which a domain's lattice intensity is negligible

  /// Directions of a block's pixels and what polarisation and solid angle make of a photon.
  struct Seen {
    double x[block_size], y[block_size], z[block_size], share[block_size];
  };

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Block block = blocks(index);
    double total[block_size];
    for (int i = 0; i < block.count; ++i) total[i] = 0.0;
    Seen seen;
    for (int step = 0; step < oversample * oversample; ++step) {
      look(block, step, seen);
      for (int w = 0; w < static_cast<int>(beam.wavelength_ang.extent(0)); ++w) scatter(block, w, seen, total);
    }
    for (int i = 0; i < block.count; ++i) photons(block.output + i) = total[i];
  }

  KOKKOS_INLINE_FUNCTION void look(const Block& block, int step, Seen& seen) const {
    const int r = block.rectangle;
    const auto vector = [&](int side) {
      return Vec3{rectangles.axis_mm(r, 0, side), rectangles.axis_mm(r, 1, side), rectangles.axis_mm(r, 2, side)};
    };
    const Vec3 fast = vector(0), slow = vector(1);
    const Vec3 origin{rectangles.origin_mm(r, 0), rectangles.origin_mm(r, 1), rectangles.origin_mm(r, 2)};
    const Vec3 area{fast.y * slow.z - fast.z * slow.y, fast.z * slow.x - fast.x * slow.z,
                    fast.x * slow.y - fast.y * slow.x};
    const double width = static_cast<double>(rectangles.size(r, 0));
    const double first = static_cast<double>(block.first);
    const double f_inside = (step / oversample + 0.5) / oversample, s_inside = (step % oversample + 0.5) / oversample;
    const double p = beam.polarization_fraction;
    const Vec3 n = beam.polarization_normal, k = beam.direction;
    // scalars, not Vec3: a loop with structs in it does not vectorise
    XFELFLOW_SIMD()
    for (int i = 0; i < block.count; ++i) {
      const double flat = first + i;
      // the nearest integer of (flat + 0.5) / width - 0.5 is floor(flat / width): the row
      const double row = round_nearest((flat + 0.5) / width - 0.5);
      const double f = flat - row * width + f_inside, s = row + s_inside;
      const double x = origin.x + f * fast.x + s * slow.x, y = origin.y + f * fast.y + s * slow.y,
                   z = origin.z + f * fast.z + s * slow.z;
      const double inverse = 1.0 / sqrt(x * x + y * y + z * z);
      const double normal = (x * n.x + y * n.y + z * n.z) * inverse, forward = (x * k.x + y * k.y + z * k.z) * inverse;
      const double polarization = (1.0 - 2.0 * p) * (1.0 - normal * normal) + p * (1.0 + forward * forward);
      const double facing = (x * area.x + y * area.y + z * area.z) * inverse;
      seen.x[i] = x * inverse;
      seen.y[i] = y * inverse;
      seen.z[i] = z * inverse;
      seen.share[i] = polarization * (facing < 0.0 ? -facing : facing) * inverse * inverse;
    }
  }

  KOKKOS_INLINE_FUNCTION void scatter(const Block& block, int w, const Seen& seen, double* total) const {
    const double scale = 1.0 / beam.wavelength_ang(w), fluence = beam.fluence(w);
    double excess[block_size];
    if constexpr (gaussian) find_near(block, scale, seen, excess);
    for (int i = 0; i < block.count; ++i) {
      if (gaussian && excess[i] > 0.0) continue;
      const Vec3 q{(seen.x[i] - beam.direction.x) * scale, (seen.y[i] - beam.direction.y) * scale,
                   (seen.z[i] - beam.direction.z) * scale};
      total[i] += seen.share[i] * fluence * domains(q);
    }
  }

  /// Find the pixels where some domain may be within reach of a Miller index: excess <= 0. The mean
  /// orientation decides: no domain's N h differs from its by more than spread |q|.
  KOKKOS_INLINE_FUNCTION void find_near(const Block& block, double scale, const Seen& seen, double* excess) const {
    const Vec3 from = beam.direction;
    const double cell_a = crystal.cells[0], cell_b = crystal.cells[1], cell_c = crystal.cells[2];
    const double ax = crystal.mean_inverse[0][0], ay = crystal.mean_inverse[0][1], az = crystal.mean_inverse[0][2];
    const double bx = crystal.mean_inverse[1][0], by = crystal.mean_inverse[1][1], bz = crystal.mean_inverse[1][2];
    const double cx = crystal.mean_inverse[2][0], cy = crystal.mean_inverse[2][1], cz = crystal.mean_inverse[2][2];
    const double within = reach, spread = crystal.spread;
    XFELFLOW_SIMD()
    for (int i = 0; i < block.count; ++i) {
      const double x = (seen.x[i] - from.x) * scale, y = (seen.y[i] - from.y) * scale, z = (seen.z[i] - from.z) * scale;
      const double h = ax * x + ay * y + az * z, k = bx * x + by * y + bz * z, l = cx * x + cy * y + cz * z;
      const double a = cell_a * (h - round_nearest(h)), b = cell_b * (k - round_nearest(k)),
                   c = cell_c * (l - round_nearest(l));
      const double limit = within + spread * sqrt(x * x + y * y + z * z);
      excess[i] = a * a + b * b + c * c - limit * limit;
    }
  }

  /// Sum of |F|^2 |L|^2 over the domains.
  KOKKOS_INLINE_FUNCTION double domains(Vec3 q) const {
    const double* inverse = crystal.inverse.data();
    const double* intensity = crystal.intensity.data();
    const int n = static_cast<int>(crystal.inverse.extent(0));
    const int n_h = static_cast<int>(crystal.intensity.extent(0)), n_k = static_cast<int>(crystal.intensity.extent(1)),
              n_l = static_cast<int>(crystal.intensity.extent(2));
    const int h_low = crystal.lowest[0], k_low = crystal.lowest[1], l_low = crystal.lowest[2];
    double sum = 0.0;
    XFELFLOW_SIMD(reduction(+ : sum))
    for (int d = 0; d < n; ++d) {
      const double* m = inverse + 9 * d;
      const double h = m[0] * q.x + m[1] * q.y + m[2] * q.z, k = m[3] * q.x + m[4] * q.y + m[5] * q.z,
                   l = m[6] * q.x + m[7] * q.y + m[8] * q.z;
      const double h0 = round_nearest(h), k0 = round_nearest(k), l0 = round_nearest(l);
      const int i = static_cast<int>(h0) - h_low, j = static_cast<int>(k0) - k_low, o = static_cast<int>(l0) - l_low;
      const bool known = (i >= 0) & (i < n_h) & (j >= 0) & (j < n_k) & (o >= 0) & (o < n_l);
      const double squared = known ? intensity[known ? (static_cast<long>(i) * n_k + j) * n_l + o : 0] : 0.0;
      sum += squared * lattice<gaussian>(crystal.cells, h - h0, k - k0, l - l0);
    }
    return sum;
  }
};

}  // namespace xfelflow::forward
