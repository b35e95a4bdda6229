// `live`: a camera in front of a running server, or of a private one.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "pipeline/media/image_codec.h"
#include "tests/bench/clip.h"
#include "tests/bench/live_load.h"
#include "tests/bench/served.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

// Pictures held in memory; more frames show them forth and back.
constexpr int kMaxPictures = 500;
constexpr int kJpegQuality = 90;

struct Flags {
  ServerFlags server;
  int frames = 100;
  std::string fps = "5,10,25";
  std::string skip = "late", format = "mp4", sampler;
  int steps = 0;
  double max_wait = -1;
  int warm_up = 1;
  int repeat = 3;
};

absl::StatusOr<LiveLoad> MakeLoad(const Flags& flags) {
  LiveLoad load;
  load.num_frames = flags.frames;
  auto source = ReadSource(flags.server);
  if (!source.ok()) return source.status();
  auto driving = ReadDriving(flags.server);
  if (!driving.ok()) return driving.status();
  const auto frames = ReadFrames(*driving, std::min(flags.frames, kMaxPictures));
  if (!frames.ok()) {
    return absl::Status(frames.status().code(),
                        absl::StrCat("--driving: ", frames.status().message()));
  }
  for (const Image& frame : *frames) {
    auto picture = EncodeJpeg(frame, kJpegQuality);
    if (!picture.ok()) return picture.status();
    load.pictures.push_back(*std::move(picture));
  }
  *load.config.mutable_source()->mutable_image() = *std::move(source);
  load.config.mutable_output()->set_format(FormatOf(flags.format));
  if (flags.steps > 0) load.config.set_num_steps(flags.steps);
  if (!flags.sampler.empty()) load.config.set_sampler(SamplerOf(flags.sampler));
  load.config.mutable_live()->set_skip_policy(flags.skip == "never" ? v1::SKIP_POLICY_WAIT
                                                                    : v1::SKIP_POLICY_SKIP);
  if (flags.max_wait >= 0) {
    auto& max_wait = *load.config.mutable_live()->mutable_max_wait();
    max_wait.set_seconds(static_cast<int64_t>(flags.max_wait));
    max_wait.set_nanos(
        static_cast<int32_t>(1e9 * (flags.max_wait - static_cast<double>(max_wait.seconds()))));
  }
  return load;
}

absl::Status Run(const Flags& flags, Report& report) {
  if (absl::Status status = flags.server.Check(); !status.ok()) return status;
  std::vector<std::pair<std::string, FrameRate>> rates;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(flags.fps, ','))) {
    const auto rate = ParseFrameRate(word);
    if (!rate.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--fps: ", rate.status().message()));
    }
    rates.emplace_back(word, *rate);
  }
  auto load = MakeLoad(flags);
  if (!load.ok()) return load.status();
  tool::Interruption interruption;
  const auto access = OpenServer(flags.server, interruption);
  if (!access.ok()) return access.status();

  const auto run_once = [&]() -> absl::StatusOr<LiveOutcome> {
    LiveOutcome outcome = RunLive(*access->client, *load, &interruption);
    if (interruption.count() > 0) return absl::CancelledError("interrupted");
    if (outcome.status.ok()) return outcome;
    const absl::Status why = access->Why(outcome.status);
    return absl::Status(
        absl::IsInvalidArgument(why) ? absl::StatusCode::kFailedPrecondition : why.code(),
        absl::StrCat("a job did not succeed: ", why.message()));
  };
  load->rate = rates[0].second;
  for (int i = 0; i < flags.warm_up; ++i) {
    if (const auto outcome = run_once(); !outcome.ok()) return outcome.status();
  }
  for (const auto& [name, rate] : rates) {
    load->rate = rate;
    std::vector<LiveOutcome> outcomes;
    double seconds = 0;
    const ServerCost cost(*access);
    for (int i = 0; i < flags.repeat; ++i) {
      auto outcome = run_once();
      if (!outcome.ok()) return outcome.status();
      seconds += outcome->seconds;
      outcomes.push_back(*std::move(outcome));
    }
    Json json;
    json["bench"] = "live";
    json["fps"] = Number(static_cast<double>(rate.num) / rate.den);
    json["frames"] = flags.frames;
    json["steps"] = flags.steps > 0 ? Json(flags.steps) : Json("default");
    json["skip"] = flags.skip;
    json["format"] = flags.format;
    json.update(Describe(outcomes));
    cost.AddTo(json, seconds);
    report.Add(json);
  }
  return absl::OkStatus();
}

}  // namespace

void AddLive(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "live", "A camera in front of a server: lag, real-time ratio, skipped frames");
  const auto flags = std::make_shared<Flags>();
  flags->server.AddTo(*command);
  command->add_option("--frames", flags->frames, "Frames of a run")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--fps", flags->fps, "Frames a second, several one after another")
      ->capture_default_str();
  command
      ->add_option("--skip", flags->skip,
                   "What becomes of frames that the server cannot keep up with")
      ->check(CLI::IsMember({"late", "never"}))
      ->capture_default_str();
  command
      ->add_option("--max-wait", flags->max_wait,
                   "Seconds that a frame waits for others at most. Default: the server's")
      ->check(CLI::Range(0.0, 10.0));
  command->add_option("--steps", flags->steps, "Denoising steps. Default: the model's")
      ->check(CLI::Range(2, 1000));
  command->add_option("--sampler", flags->sampler, "Default: the model's")
      ->check(CLI::IsMember({"ddim", "ddpm", "dpm-solver++"}));
  command->add_option("--format", flags->format, "Output format")
      ->check(CLI::IsMember({"mp4", "jpeg", "png", "raw"}))
      ->capture_default_str();
  command->add_option("--warm-up", flags->warm_up, "Runs before the measurement")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->add_option("--repeat", flags->repeat, "Runs at each rate")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
