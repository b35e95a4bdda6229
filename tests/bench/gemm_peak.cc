#include "tests/bench/gemm_peak.h"

#include <functional>
#include <utility>
#include <vector>

#include "pipeline/models/cpu_linear.h"
#include "tests/bench/measure.h"

namespace reenact::bench {

GemmPeak MeasureGemm(torch::Dtype dtype, double seconds, int threads) {
  c10::InferenceMode inference;
  constexpr int64_t kRows = 2048, kInner = 1152, kColumns = 4608;
  constexpr double kGflop = 2e-9 * kRows * kInner * kColumns;
  const torch::Tensor x = torch::randn({kRows, kInner}).to(dtype);
  const torch::Tensor weight = torch::randn({kColumns, kInner});
  const torch::Tensor bias = torch::zeros({kColumns});
  const torch::Tensor plain = weight.to(dtype);
  const torch::Tensor transposed = plain.t().contiguous();
  const CpuLinear packed(weight, bias, dtype);
  const std::vector<std::pair<const char*, std::function<torch::Tensor()>>> kernels = {
      {"at::matmul", [&] { return at::matmul(x, transposed); }},
      {"at::linear", [&] { return at::linear(x, plain); }},
      {"oneDNN", [&] { return packed(x); }}};
  for (const auto& [name, multiply] : kernels) multiply();
  GemmPeak peak;
  const Stopwatch whole;
  do {
    for (const auto& [name, multiply] : kernels) {
      const Stopwatch watch;
      multiply();
      const double speed = kGflop / watch.elapsed().Seconds(threads);
      if (speed > peak.gflop_per_s) peak = {speed, name};
    }
  } while (whole.elapsed().Seconds(threads) < seconds);
  return peak;
}

}  // namespace reenact::bench
