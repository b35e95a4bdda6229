#include "tests/bench/served.h"

#include <cstdio>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/tool/progress.h"
#include "tests/bench/measure.h"

namespace reenact::bench {
namespace {

// The file named by the flag, else the demo's.
absl::StatusOr<std::string> ReadInput(const std::string& flag, const std::string& path,
                                      const std::string& demo_name) {
  const std::string file = path.empty() ? FindDemoFile(demo_name) : path;
  if (file.empty()) {
    return absl::NotFoundError(
        absl::StrCat(flag, ": there is no demo file ", demo_name, " to fall back on; name a file"));
  }
  return ReadFileBytes(flag, file);
}

}  // namespace

void ServerFlags::AddTo(CLI::App& command) {
  command.add_option("--server", server, "A running server: host:port or unix:PATH")
      ->type_name("ADDRESS");
  command
      .add_option("--bundle", bundle,
                  "Model bundle of a private server, started for this run. Default: the demo "
                  "bundle")
      ->type_name("FOLDER");
  command.add_option("--face-models", face_models, "Landmark models of a private server")
      ->type_name("FOLDER");
  command
      .add_option("--server-flags", server_flags,
                  "More flags for a private server, such as \"--max-batch-rows 1\"")
      ->type_name("FLAGS");
  command.add_option("--source", source, "Portrait. Default: the demo's")->type_name("IMAGE");
  command.add_option("--driving", driving, "Driving video. Default: the demo's")
      ->type_name("VIDEO");
}

absl::Status ServerFlags::Check() const {
  if (!server.empty() && !(bundle + face_models + server_flags).empty()) {
    return absl::InvalidArgumentError(
        "--server: names a running server; --bundle, --face-models and --server-flags are for a "
        "private one");
  }
  return absl::OkStatus();
}

absl::StatusOr<tool::ServerAccess> OpenServer(const ServerFlags& flags,
                                              tool::Interruption& interruption) {
  tool::Progress progress(stderr, tool::Progress::StyleFor(stderr, false));
  tool::CommonOptions common;
  common.server = flags.server;
  common.bundle = flags.bundle;
  common.face_models = flags.face_models;
  common.server_arguments = absl::StrSplit(flags.server_flags, ' ', absl::SkipEmpty());
  return tool::OpenServer(common, interruption, progress);
}

absl::StatusOr<std::string> ReadSource(const ServerFlags& flags) {
  return ReadInput("--source", flags.source, "portrait.png");
}

absl::StatusOr<std::string> ReadDriving(const ServerFlags& flags) {
  return ReadInput("--driving", flags.driving, "driving.mp4");
}

v1::OutputFormat FormatOf(const std::string& name) {
  static const std::map<std::string, v1::OutputFormat> formats = {
      {"mp4", v1::OUTPUT_FORMAT_FRAGMENTED_MP4},
      {"jpeg", v1::OUTPUT_FORMAT_JPEG},
      {"png", v1::OUTPUT_FORMAT_PNG},
      {"raw", v1::OUTPUT_FORMAT_RAW_RGB}};
  return formats.at(name);
}

v1::Sampler SamplerOf(const std::string& name) {
  static const std::map<std::string, v1::Sampler> samplers = {
      {"ddim", v1::SAMPLER_DDIM},
      {"ddpm", v1::SAMPLER_DDPM},
      {"dpm-solver++", v1::SAMPLER_DPM_SOLVER_PP}};
  return samplers.at(name);
}

ServerCost::ServerCost(const tool::ServerAccess& access)
    : pid_(access.process != nullptr ? access.process->pid() : 0), start_(Cpu()) {}

void ServerCost::AddTo(Json& json, double seconds) const {
  if (pid_ == 0) return;
  const auto end = Cpu();
  if (start_.has_value() && end.has_value() && seconds > 0) {
    json["server_cores_used"] = Number((*end - *start_) / seconds, 4);
  }
  json["server_peak_rss_mb"] = Number(PeakRssMb(pid_));
}

std::optional<double> ServerCost::Cpu() const {
  return pid_ == 0 ? std::nullopt : CpuSeconds(pid_);
}

}  // namespace reenact::bench
