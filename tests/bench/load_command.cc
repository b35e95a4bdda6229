// `load`: a bundle from disk to its first job: how long, and how much memory against the weights'.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "pipeline/reenactor/reenactor.h"
#include "tests/bench/measure.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string bundle, face_models, source, driving, dtype = "bf16", device = "cpu";
  int threads = 0;
  int steps = 2;
};

absl::StatusOr<std::string> ReadFile(const char* flag, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in || bytes.empty()) {
    return absl::NotFoundError(absl::StrCat(flag, ": cannot read ", path));
  }
  return bytes;
}

// MB of this process's memory that are in no file, and in all.
struct Memory {
  double anonymous = 0, all = 0;
};
Memory MemoryNow() {
  Memory memory;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(": \t"), absl::SkipEmpty());
    double kib = 0;
    if (words.size() < 2 || !absl::SimpleAtod(words[1], &kib)) continue;
    if (words[0] == "RssAnon") memory.anonymous = kib / 1024;
    if (words[0] == "VmRSS") memory.all = kib / 1024;
  }
  return memory;
}

// MB of the bundle's weights on disk.
double WeightsMb(const std::string& folder) {
  double bytes = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors") {
      bytes += static_cast<double>(entry.file_size(error));
    }
  }
  return bytes / (1 << 20);
}

// One job, from its request to the last byte of its video.
absl::StatusOr<JobSummary> RunJob(Engine& engine, JobRequest request, const std::string& driving) {
  auto job = engine.CreateJob(request);
  if (!job.ok()) return job.status();
  if (auto status = (*job)->AddDriving(driving); !status.ok()) return status;
  if (auto status = (*job)->FinishDriving(); !status.ok()) return status;
  bool prepared = false;
  while (!(*job)->rendered()) {
    if (!prepared) {
      const auto state = (*job)->Prepare();
      if (!state.ok()) return state.status();
      prepared = *state == EngineJob::Preparation::kDone;
    }
    if (const RowDemand demand = (*job)->row_demand(); demand.max_rows > 0) {
      const auto statuses = engine.Step({{{job->get(), demand.max_rows}}});
      if (!statuses[0].ok()) return statuses[0];
    }
    if ((*job)->renderable()) {
      if (auto outputs = (*job)->Render(); !outputs.ok()) return outputs.status();
    }
  }
  return (*job)->Summary();
}

absl::Status Run(const Flags& flags, Report& report) {
  const auto source = ReadFile("--source", flags.source);
  if (!source.ok()) return source.status();
  const auto driving = ReadFile("--driving", flags.driving.empty() ? flags.source : flags.driving);
  if (!driving.ok()) return driving.status();

  ReenactorOptions options;
  options.bundles = {flags.bundle};
  options.face_models = flags.face_models;
  options.num_threads = flags.threads;
  options.device = flags.device;
  options.precision = flags.dtype == "bf16" ? ReenactorOptions::Precision::kBfloat16
                                            : ReenactorOptions::Precision::kFloat32;
  const Memory before = MemoryNow();
  const bool own_peak = ResetPeakRss();
  const Stopwatch load_watch;
  auto engine = CreateReenactor(options);
  if (!engine.ok()) {
    return absl::Status(engine.status().code(),
                        absl::StrCat("--bundle: ", engine.status().message()));
  }
  const Elapsed load = load_watch.elapsed();
  const double load_peak = PeakRssMb();
  const Memory loaded = MemoryNow();

  ResetPeakRss();
  JobRequest request;
  request.source.image = *source;
  request.num_steps = flags.steps;
  const Stopwatch job_watch;
  const auto summary = RunJob(**engine, std::move(request), *driving);
  if (!summary.ok()) return summary.status();
  const Elapsed job = job_watch.elapsed();
  const double job_peak = PeakRssMb();

  const double weights = WeightsMb(flags.bundle);
  Json json;
  json["bench"] = "load";
  json["config"] = (*engine)->models()[0].name;
  json["image_size"] = (*engine)->models()[0].image_size;
  json["dtype"] = flags.dtype;
  json["device"] = (*engine)->models()[0].device;
  json["threads"] =
      flags.threads > 0 ? flags.threads : static_cast<int>(std::thread::hardware_concurrency());
  json["weights_mb"] = Number(weights);
  json["load_s"] = Number(load.wall, 4);
  json["load_cpu_s"] = Number(load.cpu, 4);
  json["rss_before_mb"] = Number(before.all);
  json["rss_loaded_mb"] = Number(loaded.all);
  json["anonymous_loaded_mb"] = Number(loaded.anonymous);
  json["peak_load_mb"] = own_peak ? Number(load_peak) : Json(nullptr);
  json["frames"] = summary->frames_out;
  json["steps"] = flags.steps;
  json["job_s"] = Number(job.wall, 4);
  json["job_cpu_s"] = Number(job.cpu, 4);
  json["embed_s"] = Number(absl::ToDoubleSeconds(summary->embed_time), 4);
  json["denoise_s"] = Number(absl::ToDoubleSeconds(summary->denoise_time), 4);
  json["peak_job_mb"] = Number(job_peak);
  json["peak_of_weights"] = Number(std::max(load_peak, job_peak) / weights, 4);
  report.Add(json);
  return absl::OkStatus();
}

}  // namespace

void AddLoad(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "load", "A bundle from disk to its first job: time, and memory against the weights' size");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--bundle", flags->bundle, "The bundle")->required()->type_name("FOLDER");
  command->add_option("--source", flags->source, "Picture of a face")
      ->required()
      ->type_name("IMAGE");
  command
      ->add_option("--driving", flags->driving,
                   "Driving video of the job. Default: the source as a clip of one frame")
      ->type_name("VIDEO");
  command->add_option("--steps", flags->steps, "Denoising steps of the job")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--dtype", flags->dtype, "Of denoiser and decoder: fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--device", flags->device, "cpu, cuda, cuda:N or auto")
      ->capture_default_str();
  command->add_option("--face-models", flags->face_models, "Folder of the .tflite files")
      ->type_name("FOLDER");
  command->add_option("--threads", flags->threads, "Default: one per core")
      ->check(CLI::Range(1, 1024));
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
