// `gemm`: the machine's speed at matrix products, by kernel.
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "tests/bench/gemm_peak.h"
#include "tests/bench/measure.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

struct Flags {
  std::string dtype = "fp32,bf16";
  double seconds = 3;
  int threads = 0;
};

absl::Status Run(const Flags& flags, Report& report) {
  const auto dtypes = ParseWordList("--dtype", flags.dtype, {"fp32", "bf16"});
  if (!dtypes.ok()) return dtypes.status();
  if (flags.threads > 0) at::set_num_threads(flags.threads);
  const int threads = at::get_num_threads();
  for (const std::string& dtype : *dtypes) {
    const auto speeds =
        MeasureGemm(dtype == "bf16" ? torch::kBFloat16 : torch::kFloat32, flags.seconds, threads);
    for (const GemmSpeed& speed : speeds) {
      Json json;
      json["bench"] = "gemm";
      json["dtype"] = dtype;
      json["threads"] = threads;
      json["clock"] = ClockName(threads);
      json["kernel"] = speed.kernel;
      json["gemm_gflop_per_s"] = Number(speed.gflop_per_s);
      report.Add(json);
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddGemm(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "gemm", "Matrix product [2048, 1152] x [1152, 4608] by each kernel at hand");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--dtype", flags->dtype, "fp32, bf16, or both: fp32,bf16")
      ->capture_default_str();
  command->add_option("--seconds", flags->seconds, "How long, for each dtype")
      ->check(CLI::Range(0.01, 600.0))
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "Default: one per core")
      ->check(CLI::Range(1, 1024));
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
