// `engine`: denoising alone, from noise to latents (to pictures with --decode).
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "pipeline/models/cpu_vae_decoder.h"
#include "pipeline/models/device.h"
#include "pipeline/weights/load.h"
#include "tests/bench/clip_run.h"
#include "tests/bench/gemm_peak.h"
#include "tests/bench/measure.h"
#include "tests/bench/networks.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

struct Flags {
  std::string config = "demo", bundle;
  int frames = 57;
  int slots = 0;
  int steps = 10;
  std::string dtype = "fp32", method = "anchored", executor, device = "cpu", compare;
  std::string plan = "contiguous", sampler = "ddim", trace = "retained";
  int rows_per_step = 0, first_rows = 0;
  int threads = 0;
  int repeat = 3;
  uint64_t seed = 0;
  double gemm_seconds = 1;
  bool decode = false;
};

// One thing to measure.
struct Contender {
  std::string method, dtype, executor;

  std::string Name() const {
    return absl::StrCat(method, " ", dtype,
                        method == "override" ? "" : absl::StrCat(" ", executor));
  }
};

const std::vector<std::string>& Dtypes() {
  static const auto* const names = new std::vector<std::string>{"fp32", "bf16"};
  return *names;
}
const std::vector<std::string>& Executors() {
  static const auto* const names = new std::vector<std::string>{"cpu", "torch"};
  return *names;
}

bool Contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

absl::Status Check(const Contender& contender, torch::Device device) {
  if (device.is_cuda() && (contender.executor != "torch" || contender.method == "override")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--device ", device.str(),
        ": there the executor is torch, and the method none but override, which runs on the CPU"));
  }
  return absl::OkStatus();
}

// "override,anchored:bf16": what an item does not say is as in the other flags.
absl::StatusOr<std::vector<Contender>> Contenders(const Flags& flags, torch::Device device) {
  const std::string executor = !flags.executor.empty() ? flags.executor
                               : device.is_cuda()      ? "torch"
                                                       : "cpu";
  const Contender plain = {flags.method, flags.dtype, executor};
  std::vector<Contender> all;
  if (flags.compare.empty()) all.push_back(plain);
  for (const absl::string_view item : absl::StrSplit(flags.compare, ',', absl::SkipEmpty())) {
    Contender contender = plain;
    for (const absl::string_view part : absl::StrSplit(item, ':')) {
      const std::string word(part);
      if (Contains(MethodNames(), word)) {
        contender.method = word;
      } else if (Contains(Dtypes(), word)) {
        contender.dtype = word;
      } else if (Contains(Executors(), word)) {
        contender.executor = word;
      } else {
        return absl::InvalidArgumentError(absl::StrCat(
            "--compare: \"", word, "\" is none of ", absl::StrJoin(MethodNames(), ", "), "; ",
            absl::StrJoin(Dtypes(), ", "), "; ", absl::StrJoin(Executors(), ", "),
            " (joined as in override,anchored:bf16)"));
      }
    }
    all.push_back(contender);
  }
  if (!flags.compare.empty() && all.size() < 2) {
    return absl::InvalidArgumentError("--compare: needs two or more, such as override,anchored");
  }
  for (const Contender& contender : all) {
    if (auto status = Check(contender, device); !status.ok()) return status;
  }
  return all;
}

SequencePlan PlanOf(const std::string& name) {
  static const std::map<std::string, SequencePlan> plans = {
      {"central-random", SequencePlan::kCentralRandom},
      {"central-interleaved", SequencePlan::kCentralInterleaved},
      {"contiguous", SequencePlan::kContiguous},
      {"balanced", SequencePlan::kBalanced}};
  return plans.at(name);
}

TraceForm FormOf(const std::string& name) {
  static const std::map<std::string, TraceForm> forms = {{"retained", TraceForm::kRetained},
                                                         {"lockstep", TraceForm::kLockStep},
                                                         {"recomputed", TraceForm::kRecomputed}};
  return forms.at(name);
}

torch::Dtype TorchDtype(const std::string& name) {
  return name == "bf16" ? torch::kBFloat16 : torch::kFloat32;
}

// What was measured of one contender.
struct Runs {
  std::vector<double> seconds, first_frame_seconds;
  double cores_had = 0;  // of the fastest
  ClipRun last;
  double peak_rss_mb = 0;

  double Best() const { return *std::min_element(seconds.begin(), seconds.end()); }
};

class EngineBench {
 public:
  EngineBench(const Flags& flags, std::vector<Contender> contenders, torch::Device device)
      : flags_(flags), contenders_(std::move(contenders)), device_(device) {}

  absl::Status Run(Report& report) {
    if (flags_.threads > 0) at::set_num_threads(flags_.threads);
    threads_ = at::get_num_threads();
    // A processor that waits for a GPU is not what is measured.
    clock_threads_ = device_.is_cuda() ? std::max(threads_, 2) : threads_;
    if (auto status = Load(); !status.ok()) return status;
    MeasureGemms();
    runs_.resize(contenders_.size());
    // Everything is touched once before the clock runs.
    for (size_t i = 0; i < contenders_.size(); ++i) {
      auto warm = RunOnce(i, 2);
      if (!warm.ok()) return warm.status();
    }
    for (int repeat = 0; repeat < flags_.repeat; ++repeat) {
      for (size_t k = 0; k < contenders_.size(); ++k) {
        // Forward, then backward: a machine that slows down hits all alike.
        const size_t i = repeat % 2 == 0 ? k : contenders_.size() - 1 - k;
        ResetPeakRss();
        auto run = RunOnce(i, flags_.steps);
        if (!run.ok()) return run.status();
        Keep(*std::move(run), runs_[i]);
      }
    }
    MeasureGemms();
    for (size_t i = 0; i < contenders_.size(); ++i) report.Add(Describe(i));
    for (size_t i = 1; i < contenders_.size(); ++i) report.Add(DescribeRatio(i));
    return absl::OkStatus();
  }

 private:
  absl::Status Load() {
    if (flags_.bundle.empty()) {
      const auto shape = FindShape(flags_.config, flags_.slots);
      if (!shape.ok()) return shape.status();
      networks_ = MakeNetworks(flags_.config, *shape, flags_.seed, true, flags_.decode);
    } else {
      auto networks = ReadNetworks(flags_.bundle);
      if (!networks.ok()) return networks.status();
      networks_ = *std::move(networks);
      const int64_t slots = networks_.sdit->config().num_frames;
      if (flags_.slots > 0 && flags_.slots != slots) {
        return absl::InvalidArgumentError(
            absl::StrCat("--slots: the bundle has rows of ", slots, " frames"));
      }
    }
    for (const Contender& contender : contenders_) {
      if (contender.method == "override" && contender.dtype == "bf16") {
        bf16_ = SDiT(networks_.sdit->config());
        const absl::Status status = LoadWeights(*bf16_, StateDict(*networks_.sdit));
        if (!status.ok()) return status;
        bf16_->to(torch::kBFloat16);
        bf16_->eval();
      }
      const std::pair<std::string, std::string> key = {contender.executor, contender.dtype};
      if (contender.method == "override" || executors_.count(key) > 0) continue;
      RowExecutor::Options options;
      options.dtype =
          contender.dtype == "bf16" ? ExecutorDtype::kBfloat16 : ExecutorDtype::kFloat32;
      options.device = device_;
      auto executor = contender.executor == "torch" ? MakeTorchExecutor(networks_.sdit, options)
                                                    : MakeCpuExecutor(networks_.sdit, options);
      if (!executor.ok()) {
        return absl::Status(
            executor.status().code(),
            absl::StrCat("--executor ", contender.executor, ": ", executor.status().message()));
      }
      executors_[key] = *std::move(executor);
      if (flags_.decode && device_.is_cuda()) {
        auto decoder = MakeTorchVaeDecoder(networks_.autoencoder, options.dtype, device_);
        if (!decoder.ok()) return decoder.status();
        decoders_[contender.dtype] = *std::move(decoder);
      } else if (flags_.decode && contender.executor == "cpu") {
        decoders_[contender.dtype] = MakeCpuVaeDecoder(networks_.autoencoder, options.dtype);
      }
    }
    conditions_ = RandomConditions(networks_.sdit, flags_.frames, flags_.seed);
    return absl::OkStatus();
  }

  void MeasureGemms() {
    if (flags_.gemm_seconds <= 0) return;
    std::set<std::string> dtypes;
    for (const Contender& contender : contenders_) dtypes.insert(contender.dtype);
    DeviceLane lane(device_);
    for (const std::string& dtype : dtypes) {
      const double seconds = flags_.gemm_seconds / 2;
      Merge(device_.is_cuda() ? MeasureGemm(TorchDtype(dtype), seconds, lane)
                              : MeasureGemm(TorchDtype(dtype), seconds, threads_),
            gemms_[dtype]);
    }
  }

  absl::StatusOr<ClipRun> RunOnce(size_t index, int steps) {
    const Contender& contender = contenders_[index];
    ClipSpec spec;
    spec.sdit = contender.dtype == "bf16" && !bf16_.is_empty() ? bf16_ : networks_.sdit;
    if (contender.method != "override") {
      spec.executor = executors_.at({contender.executor, contender.dtype}).get();
    }
    spec.num_frames = flags_.frames;
    spec.num_steps = steps;
    spec.plan = PlanOf(flags_.plan);
    spec.seed = flags_.seed;
    spec.conditions = conditions_;
    spec.sampling.prediction = networks_.prediction;
    spec.sampling.sampler = *SamplerFromName(flags_.sampler);  // checked by the command line
    spec.rows_per_step = flags_.rows_per_step;
    spec.first_rows = flags_.first_rows;
    spec.form = FormOf(flags_.trace);
    OnFinished decode;
    if (flags_.decode) {
      const bool plain =
          device_.is_cpu() && (contender.method == "override" || contender.executor == "torch");
      VaeDecoder* decoder = plain ? nullptr : decoders_.at(contender.dtype).get();
      decode = [this, decoder](const std::vector<FinishedFrame>& frames) {
        c10::InferenceMode inference;
        std::vector<torch::Tensor> latents;
        for (const FinishedFrame& frame : frames) latents.push_back(frame.latent);
        const torch::Tensor z =
            torch::stack(latents) / networks_.autoencoder->config().scaling_factor;
        if (decoder != nullptr) {
          decoder->DecodeToBytes(z);
        } else {
          PicturesToBytes(networks_.autoencoder->decode(z));
        }
        return absl::OkStatus();
      };
    }
    return RunClip(MethodNamed(contender.method), spec, decode);
  }

  void Keep(ClipRun run, Runs& runs) const {
    const double seconds = run.whole.Seconds(clock_threads_);
    if (runs.seconds.empty() || seconds < runs.Best()) {
      runs.cores_had = run.whole.CoresHad(threads_);
    }
    runs.seconds.push_back(seconds);
    runs.first_frame_seconds.push_back(run.first_frames.Seconds(clock_threads_));
    runs.peak_rss_mb = std::max(runs.peak_rss_mb, PeakRssMb());
    runs.last = std::move(run);
  }

  Json Describe(size_t index) const {
    const Contender& contender = contenders_[index];
    const Runs& runs = runs_[index];
    const SDiTConfig& config = networks_.sdit->config();
    const double seconds = runs.Best();
    Json json;
    json["bench"] = "engine";
    json["config"] = networks_.name;
    json["frames"] = flags_.frames;
    json["slots"] = config.num_frames;
    json["rows"] = runs.last.num_rows;
    json["steps"] = flags_.steps;
    json["dtype"] = contender.dtype;
    json["method"] = contender.method;
    json["executor"] = contender.method == "override" ? "libtorch" : contender.executor;
    json["plan"] = flags_.plan;
    json["sampler"] = flags_.sampler;
    json["decode"] = flags_.decode;
    json["threads"] = threads_;
    json["device"] = DescribeDevice(device_);
    json["clock"] = ClockName(clock_threads_);
    json["repeats"] = flags_.repeat;
    json["s_per_step"] = Number(seconds / flags_.steps);
    json["s_median"] = Number(Median(runs.seconds) / flags_.steps);
    json["seconds"] = Number(seconds);
    json["frames_per_s"] = Number(flags_.frames / seconds);
    json["time_to_first_frame_s"] =
        Number(*std::min_element(runs.first_frame_seconds.begin(), runs.first_frame_seconds.end()));
    json["peak_rss_mb"] = Number(runs.peak_rss_mb);
    json["cores_had"] = Number(runs.cores_had, 3);
    json["forwards"] = runs.last.num_forwards;
    json["gflop_per_frame_step"] =
        Number(RowGflop(config, config.num_frames) / static_cast<double>(config.num_frames));
    json["gflop_total"] = Number(runs.last.gflop);
    json["gflop_per_s"] = Number(runs.last.gflop / seconds);
    const auto gemm = gemms_.find(contender.dtype);
    if (gemm != gemms_.end()) {
      const GemmSpeed peak = Fastest(gemm->second);
      json["gemm_gflop_per_s"] = Number(peak.gflop_per_s);
      json["gemm_kernel"] = peak.kernel;
      json["share_of_gemm_peak"] = Number(runs.last.gflop / seconds / peak.gflop_per_s, 4);
      const GemmSpeed library = FastestLibrary(gemm->second);
      json["library_gemm_gflop_per_s"] = Number(library.gflop_per_s);
      json["library_gemm_kernel"] = library.kernel;
      json["share_of_library_gemm"] = Number(runs.last.gflop / seconds / library.gflop_per_s, 4);
    }
    json["trace_bytes"] = runs.last.max_trace_bytes;
    return json;
  }

  // The contender against the first.
  Json DescribeRatio(size_t index) const {
    const Runs& base = runs_.front();
    const Runs& other = runs_[index];
    std::vector<double> ratios;
    for (size_t i = 0; i < base.seconds.size(); ++i) {
      ratios.push_back(base.seconds[i] / other.seconds[i]);
    }
    Json json;
    json["bench"] = "engine-compare";
    json["config"] = networks_.name;
    json["frames"] = flags_.frames;
    json["slots"] = networks_.sdit->config().num_frames;
    json["rows"] = base.last.num_rows;
    json["steps"] = flags_.steps;
    json["threads"] = threads_;
    json["base"] = contenders_.front().Name();
    json["other"] = contenders_[index].Name();
    json["repeats"] = flags_.repeat;
    const double speedup = base.Best() / other.Best();
    json["speedup"] = Number(speedup, 4);
    json["speedup_median"] = Number(Median(ratios), 4);
    const double saved_flop = 1 - other.last.gflop / base.last.gflop;
    const double saved_time = 1 - 1 / speedup;
    json["saved_flop_share"] = Number(saved_flop, 4);
    json["saved_time_share"] = Number(saved_time, 4);
    const Contender& first = contenders_.front();
    const Contender& second = contenders_[index];
    // Time follows FLOP only where the kernels are the same; the override's are libtorch's.
    const auto kernels = [](const Contender& contender) -> std::string {
      return contender.method == "override" ? "torch" : contender.executor;
    };
    if (saved_flop > 0.001 && first.dtype == second.dtype && kernels(first) == kernels(second)) {
      json["saved_time_of_flop"] = Number(saved_time / saved_flop, 4);
    }
    const auto anchors = [](const Contender& contender) {
      return contender.method == "override" || contender.method == "anchored";
    };
    // Whether both compute the same function.
    if (first.method == second.method || (anchors(first) && anchors(second))) {
      json["output_rel_diff"] = Number(RelativeDifference(base.last, other.last), 3);
    }
    if (anchors(second)) {
      // What the anchor trace removes of the full batch, (B - 1) / (B T).
      const double rows = other.last.num_rows;
      json["anchor_flop_share"] =
          Number((rows - 1) / (rows * static_cast<double>(networks_.sdit->config().num_frames)), 4);
    }
    json["cores_had_base"] = Number(base.cores_had, 3);
    json["cores_had_other"] = Number(other.cores_had, 3);
    return json;
  }

  const Flags flags_;
  const std::vector<Contender> contenders_;
  const torch::Device device_;  // of the executor torch
  int threads_ = 1, clock_threads_ = 1;
  Networks networks_;
  Conditions conditions_;
  SDiT bf16_{nullptr};  // the network in bfloat16, for the override
  std::map<std::pair<std::string, std::string>, std::unique_ptr<RowExecutor>> executors_;
  std::map<std::string, std::unique_ptr<VaeDecoder>> decoders_;  // by dtype
  std::map<std::string, std::vector<GemmSpeed>> gemms_;          // by dtype
  std::vector<Runs> runs_;
};

absl::Status Run(const Flags& flags, Report& report) {
  const auto device = FindDevice(flags.device);
  if (!device.ok()) {
    return absl::Status(device.status().code(), absl::StrCat("--", device.status().message()));
  }
  auto contenders = Contenders(flags, *device);
  if (!contenders.ok()) return contenders.status();
  return EngineBench(flags, *std::move(contenders), *device).Run(report);
}

}  // namespace

void AddEngine(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "engine", "Denoising a clip, random weights: time, FLOP, share of the GEMM peak, memory");
  command->footer(
      "Methods: anchored (by anchor trace), override (full batch, libtorch), independent "
      "(rows\n"
      "share nothing; the work of override by the executor's kernels), multidiffusion "
      "(overlapping\n"
      "windows, averaged in each step).");
  const auto flags = std::make_shared<Flags>();
  CLI::Option* config = command->add_option("--config", flags->config, "Shape of the network")
                            ->check(CLI::IsMember(ShapeNames()))
                            ->capture_default_str();
  command->add_option("--bundle", flags->bundle, "A bundle's network instead")
      ->type_name("FOLDER")
      ->excludes(config);
  command->add_option("--frames", flags->frames, "Frames of the clip")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--slots", flags->slots, "T, frames of a row. Default: the shape's own")
      ->check(CLI::Range(1, 64));
  command->add_option("--steps", flags->steps, "Denoising steps")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--dtype", flags->dtype, "Number format of the network")
      ->check(CLI::IsMember(Dtypes()))
      ->capture_default_str();
  command->add_option("--method", flags->method, "How the rows share the anchor")
      ->check(CLI::IsMember(MethodNames()))
      ->capture_default_str();
  command
      ->add_option("--executor", flags->executor,
                   "Kernels of every method but override. Default: cpu, on a GPU torch")
      ->check(CLI::IsMember(Executors()));
  command->add_option("--device", flags->device, "cpu, cuda, cuda:N or auto")
      ->capture_default_str();
  command
      ->add_option("--compare", flags->compare,
                   "Run several in turn and print the ratios to the first, such as "
                   "override,anchored or anchored:fp32,anchored:bf16")
      ->type_name("LIST");
  command->add_option("--plan", flags->plan, "Which frames share a row")
      ->check(CLI::IsMember({"central-random", "central-interleaved", "contiguous", "balanced"}))
      ->capture_default_str();
  command->add_option("--sampler", flags->sampler, "The update of a step")
      ->check(CLI::IsMember({"ddim", "ddpm", "dpm-solver++"}))
      ->capture_default_str();
  command->add_option("--trace", flags->trace, "How the anchor trace is had (anchored)")
      ->check(CLI::IsMember({"retained", "lockstep", "recomputed"}))
      ->capture_default_str();
  command->add_option("--rows-per-step", flags->rows_per_step, "Default: all rows of the clip")
      ->check(CLI::Range(2, 100'000));
  command
      ->add_option("--first-rows", flags->first_rows,
                   "Rows in a step until the first frames are there. Default: --rows-per-step")
      ->check(CLI::Range(2, 100'000));
  command->add_option("--threads", flags->threads, "Default: one per core")
      ->check(CLI::Range(1, 1024));
  command->add_option("--repeat", flags->repeat, "Runs; the fastest counts, the median is told too")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Of weights, conditions and noise")
      ->capture_default_str();
  command
      ->add_option("--gemm-seconds", flags->gemm_seconds,
                   "How long to look for the GEMM peak, half before and half after. 0: not at all")
      ->check(CLI::Range(0.0, 600.0))
      ->capture_default_str();
  command->add_flag("--decode", flags->decode,
                    "Decode finished frames to pictures in the same time");
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
