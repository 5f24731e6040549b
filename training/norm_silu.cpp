// Group normalisation followed (optionally) by SiLU, forward and backward, for bfloat16 activations in
// channels-last order [n, pixels, c] on the CPU. PyTorch's own path goes through float32 and three separate
// passes; on a machine with AMX that costs more than the convolutions between the norms.
#include <torch/extension.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

using bf16 = at::BFloat16;

inline float widen(uint16_t v) {
  union { uint32_t i; float f; } u;
  u.i = uint32_t(v) << 16;
  return u.f;
}

inline uint16_t narrow(float f) {
  union { float f; uint32_t i; } u;
  u.f = f;
  return uint16_t((u.i + 0x7fff + ((u.i >> 16) & 1)) >> 16);
}

struct Shape { int64_t n, p, c, groups; };

Shape shape_of(const at::Tensor& x, int64_t groups) {
  return {x.size(0), x.size(2) * x.size(3), x.size(1), groups};
}

// Per-channel scale and shift of one picture: y = x * a + b.
void affine(const Shape& s, const float* mean, const float* rstd, const float* gamma, const float* beta, float* a, float* b) {
  const int64_t per = s.c / s.groups;
  for (int64_t c = 0; c < s.c; ++c) {
    a[c] = rstd[c / per] * gamma[c];
    b[c] = beta[c] - mean[c / per] * a[c];
  }
}

std::vector<at::Tensor> forward(at::Tensor x, at::Tensor gamma, at::Tensor beta, int64_t groups, double eps, bool silu) {
  const Shape s = shape_of(x, groups);
  auto y = at::empty_like(x);
  auto mean = at::empty({s.n, groups}, gamma.options()), rstd = at::empty({s.n, groups}, gamma.options());
  const auto* px = reinterpret_cast<const uint16_t*>(x.data_ptr<bf16>());
  auto* py = reinterpret_cast<uint16_t*>(y.data_ptr<bf16>());
  const float *pg = gamma.data_ptr<float>(), *pb = beta.data_ptr<float>();
  float *pm = mean.data_ptr<float>(), *pr = rstd.data_ptr<float>();
  at::parallel_for(0, s.n, 1, [&](int64_t lo, int64_t hi) {
    std::vector<float> sum(s.c), sq(s.c), a(s.c), b(s.c);
    for (int64_t n = lo; n < hi; ++n) {
      const uint16_t* xn = px + n * s.p * s.c;
      uint16_t* yn = py + n * s.p * s.c;
      std::fill(sum.begin(), sum.end(), 0.f);
      std::fill(sq.begin(), sq.end(), 0.f);
      float *__restrict psum = sum.data(), *__restrict psq = sq.data();
      for (int64_t p = 0; p < s.p; ++p) {
        const uint16_t* __restrict row = xn + p * s.c;
        for (int64_t c = 0; c < s.c; ++c) {
          const float v = widen(row[c]);
          psum[c] += v;
          psq[c] += v * v;
        }
      }
      const int64_t per = s.c / groups;
      for (int64_t g = 0; g < groups; ++g) {
        double m = 0, q = 0;
        for (int64_t c = g * per; c < (g + 1) * per; ++c) m += sum[c], q += sq[c];
        m /= double(s.p * per);
        q = std::max(q / double(s.p * per) - m * m, 0.0);
        pm[n * groups + g] = float(m);
        pr[n * groups + g] = float(1.0 / std::sqrt(q + eps));
      }
      affine(s, pm + n * groups, pr + n * groups, pg, pb, a.data(), b.data());
      const float *__restrict pa = a.data(), *__restrict pbb = b.data();
      for (int64_t p = 0; p < s.p; ++p) {
        const uint16_t* __restrict row = xn + p * s.c;
        uint16_t* __restrict out = yn + p * s.c;
        if (silu) {
          for (int64_t c = 0; c < s.c; ++c) {
            const float u = widen(row[c]) * pa[c] + pbb[c];
            out[c] = narrow(u / (1.f + std::exp(-u)));
          }
        } else {
          for (int64_t c = 0; c < s.c; ++c) out[c] = narrow(widen(row[c]) * pa[c] + pbb[c]);
        }
      }
    }
  });
  return {y, mean, rstd};
}

std::vector<at::Tensor> backward(at::Tensor gy, at::Tensor x, at::Tensor gamma, at::Tensor beta, at::Tensor mean, at::Tensor rstd,
                                 int64_t groups, bool silu) {
  const Shape s = shape_of(x, groups);
  auto gx = at::empty_like(x);
  auto sums = at::zeros({2, s.n, s.c}, gamma.options());  // of du*xhat and du, per picture and channel
  const auto* px = reinterpret_cast<const uint16_t*>(x.data_ptr<bf16>());
  const auto* pgy = reinterpret_cast<const uint16_t*>(gy.data_ptr<bf16>());
  auto* pgx = reinterpret_cast<uint16_t*>(gx.data_ptr<bf16>());
  const float *pg = gamma.data_ptr<float>(), *pb = beta.data_ptr<float>();
  const float *pm = mean.data_ptr<float>(), *pr = rstd.data_ptr<float>();
  float* ps = sums.data_ptr<float>();
  at::parallel_for(0, s.n, 1, [&](int64_t lo, int64_t hi) {
    const int64_t per = s.c / groups;
    std::vector<float> a(s.c), b(s.c), k(s.c), m(s.c), t(s.c), du(s.p * s.c);
    for (int64_t n = lo; n < hi; ++n) {
      affine(s, pm + n * groups, pr + n * groups, pg, pb, a.data(), b.data());
      const uint16_t *__restrict xn = px + n * s.p * s.c, *__restrict gn = pgy + n * s.p * s.c;
      float *__restrict dg = ps + n * s.c, *__restrict db = ps + (s.n + n) * s.c, *__restrict pd = du.data();
      const float *__restrict pa = a.data(), *__restrict pbb = b.data();
      for (int64_t p = 0; p < s.p; ++p) {
        const int64_t o = p * s.c;
        for (int64_t c = 0; c < s.c; ++c) {
          const float v = widen(xn[o + c]);
          float d = widen(gn[o + c]);
          if (silu) {
            const float u = v * pa[c] + pbb[c], sg = 1.f / (1.f + std::exp(-u));
            d *= sg * (1.f + u * (1.f - sg));
          }
          pd[o + c] = d;
          dg[c] += d * v;
          db[c] += d;
        }
      }
      for (int64_t g = 0; g < groups; ++g) {
        const float mu = pm[n * groups + g], r = pr[n * groups + g];
        double sx = 0, s1 = 0;
        for (int64_t c = g * per; c < (g + 1) * per; ++c) {
          dg[c] = (dg[c] - mu * db[c]) * r;
          sx += double(dg[c]) * pg[c];
          s1 += double(db[c]) * pg[c];
        }
        sx /= double(s.p * per);
        s1 /= double(s.p * per);
        for (int64_t c = g * per; c < (g + 1) * per; ++c) {  // dx = du*k - x*m - t
          k[c] = r * pg[c];
          m[c] = float(r * r * sx);
          t[c] = float(r * s1 - r * r * sx * mu);
        }
      }
      uint16_t* __restrict out = pgx + n * s.p * s.c;
      const float *__restrict pk = k.data(), *__restrict pmm = m.data(), *__restrict pt = t.data();
      for (int64_t p = 0; p < s.p; ++p) {
        const int64_t o = p * s.c;
        for (int64_t c = 0; c < s.c; ++c) out[o + c] = narrow(pd[o + c] * pk[c] - widen(xn[o + c]) * pmm[c] - pt[c]);
      }
    }
  });
  auto total = sums.sum(1);
  return {gx, total[0], total[1]};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &forward);
  m.def("backward", &backward);
}
