#include "eval/guidance_value.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "eval/clip_truth.h"
#include "eval/parallel.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine/landmark_tensors.h"
#include "pipeline/models/sdit.h"

namespace reenact {
namespace {

// One row of a clip as the network takes it.
struct Row {
  torch::Tensor latents;        // [T, C, h, w]
  torch::Tensor landmarks;      // [T, 1434]
  torch::Tensor map;            // [T, S, landmark_map_channels()]
  torch::Tensor G;              // [identity_width]
  torch::Tensor source_latent;  // [C, h, w]
  torch::Tensor source_landmarks, source_map;
};

absl::StatusOr<Row> MakeRow(const HeldOutOptions& held_out, int index, const EvalNetworks& networks,
                            FaceLandmarker& landmarker) {
  const auto clip = DrawHeldOutClip(held_out, index, /*cross=*/false);
  if (!clip.ok()) return clip.status();
  const auto tracked = TrackFaces(clip->driving, landmarker);
  if (!tracked.ok()) return tracked.status();
  const auto truth = MakeClipTruth(*clip, *tracked, held_out.num_frames, networks, landmarker);
  if (!truth.ok()) return truth.status();
  const SDiTConfig& config = networks.bundle().config.sdit;
  const int64_t T = config.num_frames;
  Row row;
  std::vector<torch::Tensor> latents, landmarks, maps;
  for (int64_t k = 0; k < T; ++k) {
    const auto frame = static_cast<size_t>(T > 1 ? k * (held_out.num_frames - 1) / (T - 1) : 0);
    // As in a job: what the landmark network sees, where it sees anything.
    const Landmarks& face = truth->driving_found[frame].has_value() ? *truth->driving_found[frame]
                                                                    : truth->landmarks[frame];
    latents.push_back(networks.Encode(truth->frames[frame]));
    landmarks.push_back(LandmarkTensor({face})[0]);
    maps.push_back(LandmarkMapTensor(face, config));
  }
  row.latents = torch::stack(latents);
  row.landmarks = torch::stack(landmarks);
  row.map = torch::stack(maps);
  const torch::Tensor of_source = torch::tensor(truth->source_embedding);
  row.G = IdentityInput(config, of_source, of_source);
  row.source_latent = networks.Encode(truth->source);
  const auto source_face = landmarker.Detect(truth->source);
  if (!source_face.ok()) return source_face.status();
  if (!source_face->has_value()) {
    return absl::FailedPreconditionError("no face found in the source's crop");
  }
  const Landmarks& face = (*source_face)->landmarks;
  row.source_landmarks = LandmarkTensor({face})[0];
  row.source_map = LandmarkMapTensor(face, config);
  return row;
}

// The network on noisy frames x [T, C, h, w] at timestep t -> [T, out_channels, h, w].
torch::Tensor Predict(SDiT sdit, const Row& row, const torch::Tensor& x, int64_t t,
                      const GuidanceSignals& signals) {
  const SDiTConfig& config = sdit->config();
  const torch::Tensor G = (signals.clip ? row.G : sdit->null_identity()).unsqueeze(0);
  const torch::Tensor L =
      signals.landmarks ? row.landmarks : sdit->null_lmk().expand({row.landmarks.size(0), -1});
  SDiTInput input;
  input.x = x.unsqueeze(0);
  input.t = torch::full({1}, t, torch::kInt64);
  input.C = sdit->map(G, L.unsqueeze(0));
  if (config.landmark_map) {
    input.landmark_map = (signals.landmarks ? row.map : torch::zeros_like(row.map)).unsqueeze(0);
  }
  if (config.source != SourceTokens::kNone) {
    input.source_latent = row.source_latent.unsqueeze(0);
    input.source_C = sdit->map(G, row.source_landmarks.view({1, 1, -1})).select(1, 0);
    if (config.landmark_map) input.source_landmark_map = row.source_map.unsqueeze(0);
    input.source_mask = torch::full({1}, signals.source, torch::kBool);
  }
  return sdit->forward(input)[0];
}

// The noise that a prediction at x = alpha x0 + sigma noise stands for.
torch::Tensor NoiseOf(Prediction prediction, const torch::Tensor& output, const torch::Tensor& x,
                      double alpha, double sigma) {
  switch (prediction) {
    case Prediction::kEpsilon:
      return output;
    case Prediction::kV:
      return alpha * output + sigma * x;
    case Prediction::kX0:
      break;
  }
  return (x - alpha * output) / sigma;
}

}  // namespace

std::vector<GuidanceSignals> AllGuidanceSignals(bool source_tokens) {
  std::vector<GuidanceSignals> all = {{"unguided"},
                                      {"Landmark", true, false, false},
                                      {"CLIP", false, true, false},
                                      {"Landmark + CLIP", true, true, false}};
  if (source_tokens) {
    all.push_back({"CLIP + source", false, true, true});
    all.push_back({"all", true, true, true});
  }
  return all;
}

absl::StatusOr<std::vector<std::vector<double>>> MeasureGuidance(
    const EvalNetworks& networks, const HeldOutOptions& held_out, int num_clips,
    absl::Span<const GuidanceSignals> signals, absl::Span<const int64_t> timesteps, uint64_t seed,
    int threads, const ReportProgress& report) {
  const BundleConfig& config = networks.bundle().config;
  if (held_out.num_frames < config.sdit.num_frames) {
    return absl::InvalidArgumentError(absl::StrCat("--frames is ", held_out.num_frames,
                                                   ", must be at least ", config.sdit.num_frames,
                                                   ", a row of the bundle"));
  }
  const auto schedule = Schedule::Create(config.schedule, config.num_train_steps, "");
  if (!schedule.ok()) return schedule.status();
  auto landmarkers = NewLandmarkers(networks, threads);
  if (!landmarkers.ok()) return landmarkers.status();
  const size_t cells = signals.size() * timesteps.size();
  std::vector<std::vector<double>> of_clips(static_cast<size_t>(num_clips));
  const absl::Status status =
      ParallelFor(threads, num_clips, [&](int worker, int i) -> absl::Status {
        const auto row =
            MakeRow(held_out, i, networks, *(*landmarkers)[static_cast<size_t>(worker)]);
        if (absl::IsFailedPrecondition(row.status())) return absl::OkStatus();
        if (!row.ok()) return row.status();
        c10::InferenceMode inference;
        std::vector<double>& errors = of_clips[static_cast<size_t>(i)];
        errors.resize(cells);
        for (size_t k = 0; k < timesteps.size(); ++k) {
          const auto t = static_cast<int>(timesteps[k]);
          const torch::Tensor noise = FrameNoise(seed, static_cast<uint64_t>(i),
                                                 static_cast<uint64_t>(t), row->latents.sizes());
          const double alpha = schedule->alpha(t), sigma = schedule->sigma(t);
          const torch::Tensor x = alpha * row->latents + sigma * noise;
          for (size_t s = 0; s < signals.size(); ++s) {
            const torch::Tensor output = Predict(networks.bundle().sdit, *row, x, t, signals[s])
                                             .narrow(1, 0, config.sdit.latent_channels);
            const torch::Tensor predicted = NoiseOf(config.prediction, output, x, alpha, sigma);
            errors[s * timesteps.size() + k] = (predicted - noise).square().mean().item<double>();
          }
        }
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  std::vector<std::vector<double>> means(signals.size(),
                                         std::vector<double>(timesteps.size(), 0.0));
  int used = 0;
  for (const std::vector<double>& errors : of_clips) {
    if (errors.empty()) continue;
    ++used;
    for (size_t c = 0; c < cells; ++c)
      means[c / timesteps.size()][c % timesteps.size()] += errors[c];
  }
  if (used == 0) return absl::FailedPreconditionError("no face found in any clip");
  for (auto& of_signal : means) {
    for (double& value : of_signal) value /= used;
  }
  report(absl::StrCat("guidance: ", used, " clips"));
  return means;
}

}  // namespace reenact
