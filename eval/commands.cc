#include "eval/commands.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/files.h"
#include "eval/protocol.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/reenactor/reenactor.h"

namespace reenact {
namespace {

// What of `flags` says how people are drawn. Their number and their clips' length are the
// command's.
absl::StatusOr<HeldOutOptions> HeldOutFrom(const EvalFlags& flags) {
  HeldOutOptions options;
  options.first_seed = flags.first_seed;
  options.fps = flags.fps;
  if (flags.variety == "rich") {
    options.variety = Variety::kRich;
  } else if (flags.variety != "plain") {
    return absl::InvalidArgumentError(
        absl::StrCat("variety is \"", flags.variety, "\", must be one of plain, rich"));
  }
  return options;
}

}  // namespace

void AddEvalOptions(CLI::App& app, EvalFlags& flags, const std::string& clips,
                    const std::string& frames) {
  app.add_option("--bundle", flags.bundle, "Folder of the model bundle to evaluate");
  app.add_option("--face-models", flags.face_models,
                 "Folder of the .tflite files (default: REENACT_FACE_MODELS, .deps/mediapipe)");
  app.add_option(
      "--out", flags.out,
      "Folder for results as markdown, CSV and PNG, and for what is measured as it comes: "
      "a run that was stopped goes on from there");
  app.add_option("--clips", flags.clips, absl::StrCat("Held-out clips (default: ", clips, ")"))
      ->check(CLI::Range(1, 100000));
  app.add_option("--frames", flags.frames, absl::StrCat("Frames of a clip (default: ", frames, ")"))
      ->check(CLI::Range(2, 1000));
  app.add_flag("--quick", flags.quick, "A few clips: minutes on two cores");
  app.add_option("--methods", flags.methods,
                 "What holds long clips together, joined by commas: anchored, multidiffusion, "
                 "overlapped, independent; anchored:contiguous: with another plan than --plan");
  app.add_option("--plan", flags.plan, "Which frames share a row with the anchor frame")
      ->capture_default_str();
  app.add_option("--num-steps", flags.num_steps, "Denoising steps (default: the bundle's)")
      ->check(CLI::Range(2, 1000));
  app.add_option("--sampler", flags.sampler, "ddim, ddpm or dpm-solver++ (default: the bundle's)");
  app.add_option("--guidance", flags.guidance, "Guidance scale (default: the bundle's)")
      ->check(CLI::Range(1.0, 20.0));
  app.add_option("--fps", flags.fps, "Frames per second of the clips")
      ->check(CLI::Range(1.0, 120.0))
      ->capture_default_str();
  app.add_option("--smoothing", flags.smoothing, "Strength of the service's landmark smoothing")
      ->check(CLI::Range(0.0, 4.0))
      ->capture_default_str();
  app.add_option("--seed", flags.seed, "Of the noise")->capture_default_str();
  app.add_option("--first-seed", flags.first_seed,
                 "Of the people; those from 10000000 on are never trained on")
      ->capture_default_str();
  app.add_option("--variety", flags.variety,
                 "How much the people differ: plain, or rich (patterns, lights, cameras)")
      ->capture_default_str();
  app.add_option("--jobs", flags.jobs, "Clips generated together")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "Threads for drawing, measuring and denoising")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--device", flags.device, "Where to denoise and decode: cpu, cuda, cuda:N, auto")
      ->capture_default_str();
}

absl::StatusOr<Laboratory> OpenLaboratory(const EvalFlags& flags) {
  if (flags.bundle.empty()) return absl::InvalidArgumentError("--bundle is required");
  const auto plan = ParsePlan(flags.plan);
  if (!plan.ok()) return plan.status();
  const auto held_out = HeldOutFrom(flags);
  if (!held_out.ok()) return held_out.status();
  if (!flags.out.empty()) {
    if (auto status = MakeFolder(flags.out); !status.ok()) return status;
  }
  Laboratory laboratory;
  laboratory.held_out = *held_out;
  JobRequest& request = laboratory.request;
  request.plan = *plan;
  request.seed = flags.seed;
  request.smoothing = flags.smoothing;
  if (flags.num_steps > 0) request.num_steps = flags.num_steps;
  if (flags.guidance > 0) request.guidance_scale = flags.guidance;
  if (!flags.sampler.empty()) {
    const auto sampler = SamplerFromName(flags.sampler);
    if (!sampler.ok()) return sampler.status();
    request.sampler = *sampler;
  }
  auto networks = EvalNetworks::Load(flags.bundle, flags.face_models);
  if (!networks.ok()) return networks.status();
  laboratory.networks = *std::move(networks);
  ReenactorOptions options;
  options.bundles = {flags.bundle};
  options.face_models = flags.face_models;
  options.num_threads = flags.threads;
  options.device = flags.device;
  auto engine = CreateReenactor(options);
  if (!engine.ok()) return engine.status();
  laboratory.engine = *std::move(engine);
  const ModelInfo& info = laboratory.engine->models().front();
  if (flags.num_steps > info.max_num_steps) {
    return absl::InvalidArgumentError(
        absl::StrCat("--num-steps is ", flags.num_steps, ", must be 2..", info.max_num_steps));
  }
  return laboratory;
}

absl::StatusOr<Journal> OpenJournal(const Laboratory& laboratory, const EvalFlags& flags,
                                    const std::string& name, const Journal::Settings& settings) {
  if (flags.out.empty()) return Journal();
  const ModelInfo& info = laboratory.engine->models().front();
  const JobRequest& request = laboratory.request;
  Journal::Settings all = {
      {"bundle (SHA-256 of bundle.json)", info.bundle_sha256},
      {"face models (SHA-256)", laboratory.networks->face_models_sha256()},
      {"sampler", SamplerName(request.sampler.value_or(info.default_sampler))},
      {"steps", absl::StrCat(request.num_steps.value_or(info.default_num_steps))},
      {"guidance", absl::StrCat(request.guidance_scale.value_or(info.default_guidance_scale))},
      {"plan", flags.plan},
      {"smoothing", absl::StrCat(flags.smoothing)},
      {"device", info.device},
      {"variety", flags.variety},
      {"first seed", absl::StrCat(flags.first_seed)},
      {"noise seed", absl::StrCat(flags.seed)},
      {"frames per second", absl::StrCat(flags.fps)}};
  all.insert(all.end(), settings.begin(), settings.end());
  return Journal::Open(absl::StrCat(flags.out, "/", name), all);
}

std::string Describe(const Laboratory& laboratory, const EvalFlags& flags) {
  const ModelInfo& info = laboratory.engine->models().front();
  const JobRequest& request = laboratory.request;
  return absl::StrFormat(
      "Bundle %s (%.12s), %d px, %d frames a row; %s, %d steps, guidance %g, plan %s, smoothing "
      "%g; %s. People (%s) from seed %d on, noise seed %d, %g frames/s.\n",
      info.name, info.bundle_sha256, info.image_size, info.frames_per_row,
      SamplerName(request.sampler.value_or(info.default_sampler)),
      request.num_steps.value_or(info.default_num_steps),
      request.guidance_scale.value_or(info.default_guidance_scale), flags.plan, flags.smoothing,
      info.device, flags.variety, flags.first_seed, flags.seed, flags.fps);
}

}  // namespace reenact
