#include "tests/bench/gemm_peak.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "pipeline/models/cpu_kernels.h"
#include "pipeline/models/cpu_linear.h"
#include "tests/bench/measure.h"

namespace reenact::bench {
namespace {

constexpr int64_t kRows = 2048, kInner = 1152, kColumns = 4608;
constexpr double kGflop = 2e-9 * kRows * kInner * kColumns;
constexpr char kOwn[] = "own";

// The engine's own product, its rows divided among libtorch's threads.
template <typename E>
std::function<void()> OwnProduct(const torch::Tensor& x, const torch::Tensor& weight,
                                 const torch::Tensor& bias) {
  const auto layer = std::make_shared<PackedLinear<E>>(PackLinear<E>(
      weight.data_ptr<float>(), bias.data_ptr<float>(), weight.size(0), weight.size(1)));
  const torch::Tensor y = torch::empty({kRows, kColumns}, x.options());
  return [layer, x, y] {
    at::parallel_for(0, kRows, kRows / at::get_num_threads() / 4, [&](int64_t begin, int64_t end) {
      LinearOutput<E> output;
      output.to = static_cast<E*>(y.data_ptr()) + begin * kColumns;
      output.stride = kColumns;
      Linear<E>(*layer, static_cast<const E*>(x.data_ptr()) + begin * kInner, kInner, end - begin,
                output);
    });
  };
}

GemmSpeed FastestOf(const std::vector<GemmSpeed>& speeds, bool own) {
  GemmSpeed best;
  for (const GemmSpeed& speed : speeds) {
    if ((own || speed.kernel != kOwn) && speed.gflop_per_s > best.gflop_per_s) best = speed;
  }
  return best;
}

}  // namespace

std::vector<GemmSpeed> MeasureGemm(torch::Dtype dtype, double seconds, int threads) {
  c10::InferenceMode inference;
  const torch::Tensor x = torch::randn({kRows, kInner}).to(dtype);
  const torch::Tensor weight = torch::randn({kColumns, kInner});
  const torch::Tensor bias = torch::zeros({kColumns});
  const torch::Tensor plain = weight.to(dtype);
  const torch::Tensor transposed = plain.t().contiguous();
  torch::Tensor y = torch::empty({kRows, kColumns}, x.options());
  const CpuLinear packed(weight, bias, dtype);
  std::vector<std::pair<const char*, std::function<void()>>> kernels = {
      {"at::matmul", [&] { at::mm_out(y, x, transposed); }},
      {"at::linear", [&] { at::linear(x, plain); }},
      {"oneDNN", [&] { packed(x); }}};
  if (dtype == torch::kBFloat16 && HasAvx512<Bfloat16>()) {
    kernels.emplace_back(kOwn, OwnProduct<Bfloat16>(x, weight, bias));
  } else if (dtype == torch::kFloat32 && HasAvx512<float>()) {
    kernels.emplace_back(kOwn, OwnProduct<float>(x, weight, bias));
  }
  std::vector<GemmSpeed> speeds;
  for (const auto& [name, multiply] : kernels) {
    multiply();
    speeds.push_back({name, 0});
  }
  const Stopwatch whole;
  do {
    for (size_t i = 0; i < kernels.size(); ++i) {
      const Stopwatch watch;
      kernels[i].second();
      speeds[i].gflop_per_s =
          std::max(speeds[i].gflop_per_s, kGflop / watch.elapsed().Seconds(threads));
    }
  } while (whole.elapsed().Seconds(threads) < seconds);
  return speeds;
}

std::vector<GemmSpeed> MeasureGemm(torch::Dtype dtype, double seconds, DeviceLane& lane) {
  // Products put in at once, so that waiting for the last one hardly counts.
  constexpr int kProducts = 20;
  constexpr int64_t kManyRows = 8 * kRows;
  c10::InferenceMode inference;
  const auto on_device = torch::device(lane.device());
  const auto random = [&](int64_t rows, int64_t columns) {
    return lane.Run([&] { return torch::randn({rows, columns}, on_device).to(dtype); });
  };
  const torch::Tensor x = random(kManyRows, kInner), weight = random(kInner, kColumns);
  torch::Tensor y = lane.Run([&] { return torch::mm(x, weight); });
  GemmSpeed best = {"at::matmul", 0};
  const Stopwatch whole;
  do {
    const Stopwatch watch;
    lane.Run([&] {
      for (int i = 0; i < kProducts; ++i) at::mm_out(y, x, weight);
      return true;
    });
    best.gflop_per_s = std::max(best.gflop_per_s, 8 * kProducts * kGflop / watch.elapsed().wall);
  } while (whole.elapsed().wall < seconds);
  return {best};
}

GemmSpeed Fastest(const std::vector<GemmSpeed>& speeds) { return FastestOf(speeds, true); }
GemmSpeed FastestLibrary(const std::vector<GemmSpeed>& speeds) { return FastestOf(speeds, false); }

void Merge(const std::vector<GemmSpeed>& from, std::vector<GemmSpeed>& into) {
  for (const GemmSpeed& speed : from) {
    const auto known = std::find_if(into.begin(), into.end(), [&](const GemmSpeed& other) {
      return other.kernel == speed.kernel;
    });
    if (known == into.end()) {
      into.push_back(speed);
    } else {
      known->gflop_per_s = std::max(known->gflop_per_s, speed.gflop_per_s);
    }
  }
}

}  // namespace reenact::bench
