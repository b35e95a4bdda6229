#include "training/sdit_trainer.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "pipeline/diffusion/losses.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/engine/landmark_tensors.h"
#include "pipeline/face/motion_regions.h"
#include "pipeline/models/config_json.h"
#include "pipeline/weights/load.h"
#include "training/autoencoder_trainer.h"
#include "training/state.h"
#include "training/widen.h"

namespace reenact {
namespace {

constexpr int kTrainSteps = 1000;
constexpr int64_t kWhiteningSamples = 8000;
constexpr uint64_t kWhiteningStream = 201, kIdentityWhiteningStream = 202;
constexpr int64_t kEvaluationBatch = 8;
constexpr int64_t kSamplePeople = 6;
constexpr int64_t kLandmarkNumbers = 3 * kNumLandmarks;

SDiTConfig ConfigFrom(const SditTrainingOptions& options, const SditData& data) {
  SDiTConfig config;
  config.latent_channels = data.latents.size(2);
  config.latent_size = data.latents.size(3);
  config.patch_size = options.patch_size;
  config.hidden_size = options.hidden_size;
  config.depth = options.depth;
  config.num_heads = options.num_heads;
  config.num_frames = options.num_frames;
  config.clip_dim = data.image_identity.size(2);
  config.mapping_blocks = options.mapping_blocks;
  config.learn_sigma = options.learn_sigma;
  config.source = options.source;
  config.landmark_map = options.landmark_map;
  if (options.landmark_map) {
    config.landmark_map_frequencies = options.landmark_map_frequencies;
    config.landmark_map_openings = options.landmark_map_openings;
  }
  config.identity_change = options.identity_change && options.source != SourceTokens::kNone;
  return config;
}

constexpr int64_t kThemselves = -1;

// Of the person, or of the lookalike `who`. What was found in the picture if `found` and anybody
// looked and saw a face, else exactly what it shows.
Landmarks LandmarksOf(const DataCache& data, int64_t person, int64_t frame, bool found,
                      int64_t who = kThemselves) {
  if (found && data.found.defined()) {
    const torch::Tensor landmarks = data.found[person][frame][1 + who];
    if (!landmarks[0][0].isnan().item<bool>()) return ToLandmarks(landmarks);
  }
  return ToLandmarks(who == kThemselves ? data.landmarks[person][frame]
                                        : data.lookalikes[person][frame][who]);
}

void StoreNormalized(const Landmarks& landmarks, torch::Tensor target) {
  target.copy_(LandmarkTensor({landmarks})[0]);
}

void StoreMap(const Landmarks& landmarks, const SDiTConfig& config, torch::Tensor target) {
  target.copy_(LandmarkMapTensor(landmarks, config));
}

constexpr double kSamePlace = 0.002;  // of the picture: a quarter of a pixel

// Whether the two show the same heads and mouths, frame by frame; eyes may differ.
bool SamePoses(const DataCache& a, const DataCache& b) {
  if (a.landmarks.sizes() != b.landmarks.sizes()) return false;
  const torch::Tensor points =
      torch::tensor({int64_t{MotionRegions::kUnderNose}, int64_t{MotionRegions::kLeftMouthCorner},
                     int64_t{MotionRegions::kRightMouthCorner}});
  const torch::Tensor moved = (a.landmarks - b.landmarks).index_select(2, points).abs();
  return moved.max().item<double>() < kSamePlace;
}

bool Chance(double p, std::mt19937_64& random) { return DrawUniform(random) < p; }

// Whether a row has found landmarks.
bool ChooseFound(const SditTrainingOptions& options, const SditData& data,
                 std::mt19937_64& random) {
  return data.people->found.defined() && Chance(options.found_landmarks, random);
}

// 0 .. bound - 1
int64_t Below(int64_t bound, std::mt19937_64& random) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
}

// The first or last frame of a person's clip, whichever is farther from `frames`.
int64_t FartherEnd(const DataCache& data, int64_t person, const std::vector<int64_t>& frames) {
  const int64_t end = data.num_frames() - 1;
  const Landmarks first = LandmarksOf(data, person, 0, /*found=*/false);
  const Landmarks last = LandmarksOf(data, person, end, /*found=*/false);
  double to_first = 0, to_last = 0;
  for (const int64_t f : frames) {
    const Landmarks landmarks = LandmarksOf(data, person, f, /*found=*/false);
    to_first += MeanDistance(first, landmarks);
    to_last += MeanDistance(last, landmarks);
  }
  return to_first > to_last ? 0 : end;
}

// Rows with every tensor of its shape, zeros, and everything kept.
SditRows EmptyRows(const SDiTConfig& config, int64_t rows, int64_t T) {
  const int64_t C = config.latent_channels, h = config.latent_size;
  const int64_t S = config.tokens_side() * config.tokens_side();
  const auto flags = torch::ones({rows}, torch::kBool);
  return {.latents = torch::zeros({rows, T, C, h, h}),
          .weight = torch::ones({rows, T, 1, h, h}),
          .source_latent = torch::zeros({rows, C, h, h}),
          .identity = torch::zeros({rows, config.identity_width()}),
          .keep_identity = flags.clone(),
          .keep_source = flags.clone(),
          .same_looks = flags.clone(),
          .landmarks = torch::zeros({rows, T, kLandmarkNumbers}),
          .keep_landmarks = flags.clone(),
          .landmark_map = torch::zeros({rows, T, S, config.landmark_map_channels()}),
          .source_landmarks = torch::zeros({rows, 1, kLandmarkNumbers}),
          .source_landmark_map = torch::zeros({rows, S, config.landmark_map_channels()}),
          .seeds = {}};
}

// [1,h,h] from the share [h,h] of each cell that is eyes or mouth.
torch::Tensor CellWeight(const torch::Tensor& expressive, const SditTrainingOptions& options) {
  const torch::Tensor share = expressive.unsqueeze(0);
  torch::Tensor weight = 1 + options.expressive_weight * share;
  if (options.surround_weight > 0) {
    const torch::Tensor near = torch::max_pool2d(share.gt(0).to(torch::kFloat32), 3, 1, 1);
    weight += options.surround_weight * near;
  }
  return weight;
}

// Everything but noise, time and conditions C.
SDiTInput InputFrom(const SDiTConfig& config, const SditRows& rows) {
  SDiTInput input;
  if (config.landmark_map) input.landmark_map = rows.landmark_map;
  if (config.source == SourceTokens::kNone) return input;
  // One for all is enough where none is seen.
  const int64_t sources = rows.keep_source.any().item<bool>() ? rows.keep_source.size(0) : 1;
  input.source_latent = rows.source_latent.narrow(0, 0, sources);
  input.source_mask = rows.keep_source;
  if (config.landmark_map) {
    input.source_landmark_map = rows.source_landmark_map.narrow(0, 0, sources);
  }
  return input;
}

// G as map() takes it; nobody's where it is dropped.
torch::Tensor IdentityOf(const SditRows& rows, const torch::Tensor& null_identity) {
  return torch::where(rows.keep_identity.unsqueeze(1), rows.identity, null_identity.unsqueeze(0));
}

// The weights follow from the seed alone, whatever the device.
WhitenedSdit Build(const SDiTConfig& config, const SditWhitening& whitening,
                   const SditTrainingOptions& options) {
  torch::manual_seed(options.seed);
  return OnDevice(WhitenedSdit(config, whitening), options.device);
}

SditRows OnDevice(const SditRows& rows, torch::Device device) {
  return {.latents = rows.latents.to(device),
          .weight = rows.weight.to(device),
          .source_latent = rows.source_latent.to(device),
          .identity = rows.identity.to(device),
          .keep_identity = rows.keep_identity.to(device),
          .keep_source = rows.keep_source.to(device),
          .same_looks = rows.same_looks.to(device),
          .landmarks = rows.landmarks.to(device),
          .keep_landmarks = rows.keep_landmarks.to(device),
          .landmark_map = rows.landmark_map.to(device),
          .source_landmarks = rows.source_landmarks.to(device),
          .source_landmark_map = rows.source_landmark_map.to(device),
          .seeds = rows.seeds};
}

std::vector<NamedParameter> Parameters(const WhitenedSdit& model, double mapping_lr_ratio) {
  std::vector<NamedParameter> parameters = NamedParameters(*model);
  for (NamedParameter& p : parameters) {
    if (p.name.starts_with("sdit.mapping.") || p.name.starts_with("whitened")) {
      p.lr_ratio = mapping_lr_ratio;
    }
  }
  return parameters;
}

// Landmarks as training will see them, for the principal directions.
torch::Tensor WhiteningSamples(const SditData& data, const SditTrainingOptions& options) {
  std::mt19937_64 random(StepSeed(options.seed, kWhiteningStream));
  torch::Tensor samples = torch::empty({kWhiteningSamples, kLandmarkNumbers});
  for (int64_t i = 0; i < kWhiteningSamples; ++i) {
    const auto person = static_cast<int64_t>(random() % static_cast<uint64_t>(data.num_people()));
    const auto frame = static_cast<int64_t>(random() % static_cast<uint64_t>(data.num_frames()));
    const bool found = ChooseFound(options, data, random);
    const LandmarkAugmentation augmentation(options.augmentation, found, random);
    StoreNormalized(augmentation.Driving(LandmarksOf(*data.people, person, frame, found), random),
                    samples[i]);
  }
  return samples;
}

// The embeddings that G is drawn from: pictures and captions, as many of each.
torch::Tensor IdentitySamples(const SditData& data, uint64_t seed) {
  std::mt19937_64 random(StepSeed(seed, kIdentityWhiteningStream));
  torch::Tensor samples = torch::empty({kWhiteningSamples, data.image_identity.size(2)});
  for (int64_t i = 0; i < kWhiteningSamples; ++i) {
    const torch::Tensor& from = i % 2 == 0 ? data.image_identity : data.text_identity;
    const auto person = static_cast<int64_t>(random() % static_cast<uint64_t>(data.num_people()));
    samples[i] = from[person][static_cast<int64_t>(random() % static_cast<uint64_t>(from.size(1)))];
  }
  return samples;
}

// The whitening of G as one of IdentityInput(): a difference is stretched as its terms are.
Whitening OfIdentityInput(const SDiTConfig& config, const Whitening& of_g) {
  if (!config.identity_change) return of_g;
  return {.mean = torch::cat({of_g.mean, torch::zeros_like(of_g.mean)}),
          .basis = torch::block_diag({of_g.basis, of_g.basis})};
}

}  // namespace

torch::Tensor ExpressiveShare(const DataCache& data, int64_t latent_size) {
  torch::NoGradGuard no_grad;
  const int64_t people = data.num_people(), frames = data.num_frames();
  torch::Tensor share = torch::empty({people, frames, latent_size, latent_size});
  for (int64_t p = 0; p < people; ++p) {
    share[p].copy_(torch::avg_pool2d(data.masks[p].to(torch::kFloat32), data.size() / latent_size));
  }
  return share;
}

WhitenedSditImpl::WhitenedSditImpl(const SDiTConfig& config, const SditWhitening& whitening)
    : whitening_{.landmarks = {whitening.landmarks.mean.clone(), whitening.landmarks.basis.clone()},
                 .identity = {whitening.identity.mean.clone(), whitening.identity.basis.clone()}},
      sdit_(register_module("sdit", SDiT(config))),
      whitened_(register_module(
          "whitened", torch::nn::Linear(whitening_.landmarks.basis.size(1), config.hidden_size))),
      whitened_identity_(register_module(
          "whitened_identity", torch::nn::Linear(torch::nn::LinearOptions(
                                   whitening_.identity.basis.size(1), config.hidden_size)))) {
  // Part of the state, so that a checkpoint fits whatever data it goes on with.
  register_buffer("whitening_mean", whitening_.landmarks.mean);
  register_buffer("whitening_basis", whitening_.landmarks.basis);
  register_buffer("identity_mean", whitening_.identity.mean);
  register_buffer("identity_basis", whitening_.identity.basis);
  InitializeWeights(sdit_);
  torch::NoGradGuard no_grad;
  for (const torch::nn::Linear& layer : {whitened_, whitened_identity_}) {
    layer->weight.normal_(0, 0.02).clamp_(-0.04, 0.04);
    torch::nn::init::zeros_(layer->bias);
  }
  // The raw layers are filled in by Fold(); without landmarks or G they read average ones.
  const auto freeze = [](torch::Tensor null, const Whitening& white, torch::nn::Linear raw) {
    null.copy_(white.mean.narrow(0, 0, null.numel()));
    for (torch::Tensor* unused : {&null, &raw->weight, &raw->bias}) unused->requires_grad_(false);
    raw->weight.zero_();
    raw->bias.zero_();
  };
  freeze(sdit_->null_lmk(), whitening_.landmarks, sdit_->mapping()->lmk_proj());
  freeze(sdit_->null_clip(), whitening_.identity, sdit_->mapping()->clip_proj());
}

torch::Tensor WhitenedSditImpl::map(const torch::Tensor& G, const torch::Tensor& L,
                                    const torch::Tensor& keep_landmarks) {
  const torch::Tensor keep = keep_landmarks.to(torch::kFloat32).view({-1, 1, 1});
  return sdit_->map_projected(whitened_identity_(whitening_.identity.Apply(G)).unsqueeze(1) +
                              whitened_(whitening_.landmarks.Apply(L) * keep));
}

void WhitenedSditImpl::Fold() {
  FoldWhitening(whitening_.landmarks, whitened_, sdit_->mapping()->lmk_proj());
  FoldWhitening(whitening_.identity, whitened_identity_, sdit_->mapping()->clip_proj());
}

absl::Status WhitenedSditImpl::Unfold(TensorMap weights, bool new_clip) {
  torch::NoGradGuard no_grad;
  if (new_clip) {
    const TensorMap own = StateDict(*sdit_);
    for (const char* name : {"null_clip", "mapping.clip_proj.weight", "mapping.clip_proj.bias"}) {
      weights.insert_or_assign(name, own.at(name));
    }
  }
  if (absl::Status status = LoadWeights(*sdit_, weights); !status.ok()) return status;
  const auto unfold = [](torch::Tensor mean, const torch::Tensor& null, const Whitening& white,
                         torch::nn::Linear raw, const torch::nn::Linear& whitened) {
    mean.copy_(null);
    UnfoldWhitening(white, raw, whitened);
    raw->weight.zero_();
    raw->bias.zero_();
  };
  const Mapping mapping = sdit_->mapping();
  unfold(whitening_.landmarks.mean, sdit_->null_lmk(), whitening_.landmarks, mapping->lmk_proj(),
         whitened_);
  if (!new_clip) {
    unfold(whitening_.identity.mean, sdit_->null_identity(), whitening_.identity,
           mapping->clip_proj(), whitened_identity_);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SditTrainee>> SditTrainee::Create(SditTrainingOptions options,
                                                                 const SditData& data,
                                                                 const SditData* held_out,
                                                                 AutoencoderKL autoencoder) {
  SDiTConfig config = ConfigFrom(options, data);
  if (absl::Status status = Validate(config); !status.ok()) return status;
  // The far source is the first or last frame, and the T are drawn from those between.
  if (data.num_frames() < options.num_frames + 2 || options.clips < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rows of ", options.num_frames, " frames need clips of ", options.num_frames + 2));
  }
  if (options.zero_terminal_snr && options.prediction == Prediction::kEpsilon) {
    return absl::InvalidArgumentError(
        "a schedule of zero terminal SNR needs the prediction v or x0: where it begins, the noise "
        "says nothing about the picture");
  }
  if (options.zero_terminal_snr && options.min_snr_gamma > 0) {
    return absl::InvalidArgumentError(
        "min-SNR weighting gives the last step of a schedule of zero terminal SNR no weight, and "
        "sampling begins there: choose one of the two");
  }
  for (const SditData* set : {&data, held_out}) {
    if (set == nullptr) continue;
    for (const SditData* portraits : {set->portraits, set->changed}) {
      if (portraits != nullptr && portraits->people->seeds != set->people->seeds) {
        return absl::InvalidArgumentError("the portraits show other people");
      }
    }
  }
  for (const SditData* portraits : {data.portraits, data.changed}) {
    if (portraits != nullptr &&
        portraits->people->found.defined() != data.people->found.defined()) {
      return absl::InvalidArgumentError(
          "landmarks were found in the pictures of some folders and not in those of others: draw "
          "all with --find-landmarks or none");
    }
  }
  if (options.same_pose > 0 &&
      (data.portraits == nullptr || data.changed == nullptr ||
       !SamePoses(*data.portraits->people, *data.changed->people) ||
       data.portraits->people->lookalikes.size(2) != data.people->lookalikes.size(2))) {
    return absl::InvalidArgumentError(
        absl::StrCat("same_pose is ", options.same_pose,
                     ", must be 0 without portraits and changed portraits of the same poses and "
                     "as many lookalikes as the clips'"));
  }
  auto schedule = Schedule::Create(options.schedule(), kTrainSteps, "");
  if (!schedule.ok()) return schedule.status();
  SditWhitening whitening = {
      .landmarks = ComputeWhitening(WhiteningSamples(data, options), options.whitened_components,
                                    options.whitening_floor),
      .identity = OfIdentityInput(
          config, ComputeWhitening(IdentitySamples(data, options.seed), options.identity_components,
                                   options.identity_floor))};
  return std::unique_ptr<SditTrainee>(new SditTrainee(std::move(options), config,
                                                      std::move(whitening), *std::move(schedule),
                                                      data, held_out, std::move(autoencoder)));
}

SditTrainee::SditTrainee(SditTrainingOptions options, SDiTConfig config, SditWhitening whitening,
                         Schedule schedule, const SditData& data, const SditData* held_out,
                         AutoencoderKL autoencoder)
    : options_(std::move(options)),
      config_(config),
      whitening_(std::move(whitening)),
      schedule_(std::move(schedule)),
      data_(data),
      held_out_(held_out),
      autoencoder_(std::move(autoencoder)),
      model_(Build(config_, whitening_, options_)),
      averaged_(OnDevice(WhitenedSdit(config_, whitening_), options_.device)),
      optimizer_(Parameters(model_, options_.mapping_lr_ratio),
                 {.beta1 = 0.9,
                  .beta2 = 0.98,
                  .weight_decay = options_.weight_decay,
                  .clip_norm = options_.gradient.clip_norm}),
      average_(*model_, *averaged_, options_.ema) {
  if (!autoencoder_.is_empty()) autoencoder_->to(options_.device);
}

bool SditTrainee::IsSingleFrames(int64_t number) const {
  std::mt19937_64 random(StepSeed(options_.seed + 2, static_cast<uint64_t>(number)));
  return DrawUniform(random) < options_.single_frames;
}

uint64_t SditTrainee::RowSeed(uint64_t stream, int64_t number, int64_t b) const {
  const bool single = IsSingleFrames(number);
  const int64_t rows = options_.clips * (single ? config_.num_frames : 1);
  return StepSeed(options_.seed + stream + (single ? 3 : 0),
                  static_cast<uint64_t>(number * rows + b));
}

SditRows SditTrainee::DrawRows(int64_t number) const {
  const bool single = IsSingleFrames(number);
  const int64_t T = single ? 1 : config_.num_frames;
  const int64_t num_rows = options_.clips * config_.num_frames / T;
  SditRows rows = EmptyRows(config_, num_rows, T);
  for (int64_t b = 0; b < num_rows; ++b) {
    std::mt19937_64 random(RowSeed(0, number, b));
    const RowChoice choice = ChooseRow(T, random);
    rows.seeds.push_back(data_.people->seeds[static_cast<size_t>(choice.person)]);
    rows.keep_source[b] = choice.keep_source;
    rows.same_looks[b] = !choice.changed;
    StoreFrames(choice, b, random, rows);
    StoreIdentity(choice, b, random, rows);
  }
  return rows;
}

SditTrainee::RowChoice SditTrainee::ChooseRow(int64_t T, std::mt19937_64& random) const {
  const int64_t F = data_.num_frames();
  RowChoice choice;
  choice.person = Below(data_.num_people(), random);
  // The T frames: T of the candidates, in order of time.
  const bool portrait = data_.portraits != nullptr && Chance(options_.portrait_source, random);
  const bool far = Chance(options_.far_source, random);
  choice.source = Below(F, random);
  for (int64_t f = 0; f < F; ++f) {
    if (far ? f != 0 && f != F - 1 : f != choice.source) choice.frames.push_back(f);
  }
  while (static_cast<int64_t>(choice.frames.size()) > T) {
    const auto count = static_cast<int64_t>(choice.frames.size());
    choice.frames.erase(choice.frames.begin() + Below(count, random));
  }
  if (far) choice.source = FartherEnd(*data_.people, choice.person, choice.frames);

  const double drop_source =
      T == 1 ? options_.drop_single_source_tokens.value_or(options_.drop_source_tokens)
             : options_.drop_source_tokens;
  choice.keep_source = !Chance(drop_source, random);
  choice.changed =
      data_.changed != nullptr && choice.keep_source && Chance(options_.changed_source, random);
  choice.source_data = choice.changed ? data_.changed : portrait ? data_.portraits : &data_;
  if (choice.changed || portrait) {
    choice.source = Below(choice.source_data->num_frames(), random);
  }
  if (choice.changed && Chance(options_.same_pose, random)) choice.same_pose = Below(T, random);
  return choice;
}

void SditTrainee::StoreFrames(const RowChoice& choice, int64_t b, std::mt19937_64& random,
                              SditRows& rows) const {
  const int64_t person = choice.person;
  const int64_t num_lookalikes = data_.people->lookalikes.size(2);
  const bool found = ChooseFound(options_, data_, random);
  const LandmarkAugmentation augmentation(options_.augmentation, found, random);
  const int64_t lookalike = num_lookalikes > 0 && Chance(options_.lookalike, random)
                                ? Below(num_lookalikes, random)
                                : kThemselves;
  const bool keep_landmarks = !Chance(options_.drop_landmarks, random);
  rows.keep_landmarks[b] = keep_landmarks;
  for (int64_t k = 0; k < static_cast<int64_t>(choice.frames.size()); ++k) {
    const bool same_pose = k == choice.same_pose;
    const SditData& set = same_pose ? *data_.portraits : data_;
    const int64_t frame = same_pose ? choice.source : choice.frames[static_cast<size_t>(k)];
    rows.latents[b][k] = set.latents[person][frame];
    rows.weight[b][k] = CellWeight(set.expressive[person][frame], options_);
    const Landmarks landmarks =
        augmentation.Driving(LandmarksOf(*set.people, person, frame, found, lookalike), random);
    StoreNormalized(landmarks, rows.landmarks[b][k]);
    if (keep_landmarks && config_.landmark_map) {
      StoreMap(landmarks, config_, rows.landmark_map[b][k]);
    }
  }
  const SditData& source_data = *choice.source_data;
  const Landmarks source_landmarks =
      augmentation.Source(LandmarksOf(*source_data.people, person, choice.source, found), random);
  rows.source_latent[b] = source_data.latents[person][choice.source];
  StoreNormalized(source_landmarks, rows.source_landmarks[b][0]);
  if (config_.landmark_map) StoreMap(source_landmarks, config_, rows.source_landmark_map[b]);
}

void SditTrainee::StoreIdentity(const RowChoice& choice, int64_t b, std::mt19937_64& random,
                                SditRows& rows) const {
  const int64_t person = choice.person;
  const SditData& source_data = *choice.source_data;
  const bool from_text = Chance(choice.keep_source ? options_.text_identity : 0.5, random);
  const int64_t phrasing = Below(data_.text_identity.size(1), random);
  rows.keep_identity[b] = !Chance(options_.drop_identity, random);
  const torch::Tensor of_source = source_data.image_identity[person][choice.source];
  const torch::Tensor of_picture =
      choice.changed ? data_.image_identity[person][Below(data_.num_frames(), random)] : of_source;
  torch::Tensor G = from_text ? data_.text_identity[person][phrasing] : of_picture;
  if (choice.changed && source_data.edits.defined() && Chance(options_.edited_identity, random)) {
    const torch::Tensor edits = source_data.edits[person][choice.source];
    const double strength = 0.5 + 0.5 * DrawUniform(random);
    G = NormalizeEmbedding(of_source + strength * edits[Below(edits.size(0), random)]);
  }
  const auto shown = choice.keep_source ? std::optional(of_source) : std::nullopt;
  rows.identity[b] = IdentityInput(config_, G, shown);
}

SditNoise SditTrainee::DrawNoise(int64_t number, const SditRows& rows) const {
  const int64_t num_rows = rows.latents.size(0);
  SditNoise drawn = {.t = torch::empty({num_rows}, torch::kInt64),
                     .noise = torch::empty(rows.latents.sizes())};
  for (int64_t b = 0; b < num_rows; ++b) {
    std::mt19937_64 random(RowSeed(1, number, b));
    const bool shown = rows.keep_source[b].item<bool>() && rows.same_looks[b].item<bool>();
    const int draws = shown ? options_.time_draws : options_.hidden_source_draws;
    uint64_t t = 0;
    for (int i = 0; i < draws; ++i) t = std::max(t, random() % uint64_t{kTrainSteps});
    drawn.t[b] = static_cast<int64_t>(t);
    drawn.noise[b].copy_(RowNoise(random(), rows.latents[b].sizes()));
    if (DrawUniform(random) < options_.shared_noise) {
      drawn.noise[b].copy_(drawn.noise[b][0].clone());
    }
  }
  return drawn;
}

MicroBatch SditTrainee::LossOf(int64_t number) {
  const SditRows drawn = DrawRows(number);
  const SditNoise noising = DrawNoise(number, drawn);
  const SditRows rows = OnDevice(drawn, options_.device);
  const torch::Tensor t = noising.t.to(options_.device);
  const torch::Tensor noise = noising.noise.to(options_.device);
  SDiTInput input = InputFrom(config_, rows);
  input.x = AddNoise(schedule_, rows.latents, t, noise);
  input.t = t;
  torch::Tensor output;
  {
    AutocastScope autocast(options_.bfloat16, options_.device);
    const torch::Tensor G = IdentityOf(rows, model_->sdit()->null_identity());
    input.C = model_->map(G, rows.landmarks, rows.keep_landmarks);
    if (input.source_latent) {
      input.source_C = model_->map(G, rows.source_landmarks, torch::ones_like(rows.keep_landmarks))
                           .select(1, 0)
                           .narrow(0, 0, input.source_latent->size(0));
    }
    output = model_->sdit()->forward(input).to(torch::kFloat32);
  }
  torch::Tensor weight = rows.weight;
  if (options_.min_snr_gamma > 0) {
    weight = weight * MinSnrWeight(schedule_, options_.prediction, options_.min_snr_gamma, t)
                          .view({-1, 1, 1, 1, 1});
  }
  MicroBatch batch{.loss = ComputeDiffusionLoss(schedule_, options_.prediction, rows.latents,
                                                input.x, t, noise, output, weight)
                               .loss.mean(),
                   .seeds = rows.seeds};
  return batch;
}

absl::StatusOr<Gradient> SditTrainee::BackPropagate(int64_t step) {
  return ComputeGradient(options_.gradient, step, optimizer_.parameters(),
                         [this](int64_t number) { return LossOf(number); });
}

absl::StatusOr<Trainee::StepResult> SditTrainee::Step(int64_t step, double progress) {
  const auto gradient = BackPropagate(step);
  if (!gradient.ok()) return gradient.status();
  const double rate = LearningRate(options_.learning_rate, step, options_.warmup_steps, progress,
                                   options_.decay_from, options_.final_lr_ratio);
  const double norm = optimizer_.Step(rate);
  average_.Update();
  return StepResult{gradient->loss, rate, norm, gradient->seeds};
}

std::vector<std::pair<std::string, double>> SditTrainee::Evaluate() {
  if (held_out_ == nullptr) return {};
  torch::NoGradGuard no_grad;
  SDiT sdit = OnDevice(Folded(), options_.device);
  const torch::Tensor mean_latent = data_.latents.mean(c10::IntArrayRef{0, 1});
  double error = 0, variance = 0, picture_error = 0, picture_count = 0;
  const int64_t people = std::min(options_.evaluation_clips, held_out_->num_people());
  const auto frames = EvaluationFrames(held_out_->num_frames(), config_.num_frames);
  for (int64_t first = 0; first < people; first += kEvaluationBatch) {
    std::vector<int64_t> batch;
    for (int64_t p = first; p < std::min(people, first + kEvaluationBatch); ++p) batch.push_back(p);
    const SditRows rows = EvaluationRows(*held_out_, config_, batch, batch);
    const torch::Tensor sample = SampleRows(
        sdit, {.prediction = options_.prediction, .sampler = options_.evaluation_sampler},
        options_.schedule(), rows, options_.evaluation_steps, options_.seed);
    error += (sample - rows.latents).square().sum().item<double>();
    variance += (mean_latent - rows.latents).square().sum().item<double>();
    if (autoencoder_.is_empty()) continue;
    const torch::Tensor pictures =
        ToBytes(
            autoencoder_->decode(sample.flatten(0, 1).to(options_.device) / data_.scaling_factor))
            .cpu();
    for (size_t i = 0; i < batch.size(); ++i) {
      for (size_t k = 0; k < frames.size(); ++k) {
        const torch::Tensor truth = held_out_->people->frames[batch[i]][frames[k]];
        const torch::Tensor picture = pictures[static_cast<int64_t>(i * frames.size() + k)];
        picture_error +=
            (picture.to(torch::kFloat32) - truth.to(torch::kFloat32)).square().sum().item<double>();
        picture_count += static_cast<double>(truth.numel());
      }
    }
  }
  std::vector<std::pair<std::string, double>> metrics = {{"fvu", error / variance}};
  if (picture_count > 0) {
    metrics.emplace_back("psnr", 10 * std::log10(255.0 * 255.0 * picture_count / picture_error));
  }
  return metrics;
}

std::vector<std::vector<torch::Tensor>> SditTrainee::Samples() {
  if (held_out_ == nullptr || autoencoder_.is_empty()) return {};
  torch::NoGradGuard no_grad;
  SDiT sdit = OnDevice(Folded(), options_.device);
  std::vector<int64_t> people;
  for (int64_t p = 0; p < std::min(kSamplePeople, held_out_->num_people()); ++p) {
    people.push_back(p);
  }
  const SditRows rows = EvaluationRows(*held_out_, config_, people, people);
  const torch::Tensor sample =
      SampleRows(sdit, {.prediction = options_.prediction, .sampler = options_.evaluation_sampler},
                 options_.schedule(), rows, options_.evaluation_steps, options_.seed);
  const auto decode = [&](const torch::Tensor& latents) {
    return ToBytes(autoencoder_->decode(latents.to(options_.device) / data_.scaling_factor))
        .cpu()
        .unbind();
  };
  const SditData& sources = held_out_->portraits != nullptr ? *held_out_->portraits : *held_out_;
  std::vector<std::vector<torch::Tensor>> sheet;
  for (const int64_t p : people) {
    std::vector<torch::Tensor> above = {sources.people->frames[p][0]};
    for (const int64_t f : EvaluationFrames(held_out_->num_frames(), config_.num_frames)) {
      above.push_back(held_out_->people->frames[p][f]);
    }
    std::vector<torch::Tensor> below = decode(rows.source_latent.narrow(0, p, 1));
    for (torch::Tensor& picture : decode(sample[p])) below.push_back(std::move(picture));
    sheet.push_back(std::move(above));
    sheet.push_back(std::move(below));
  }
  return sheet;
}

void SditTrainee::Save(TensorMap& tensors) const {
  SaveTraining(*model_, *averaged_, average_, optimizer_, tensors);
}

absl::Status SditTrainee::Load(const TensorMap& tensors) {
  return LoadTraining(tensors, *model_, *averaged_, average_, optimizer_);
}

absl::Status SditTrainee::StartFrom(const TrainedSdit& start, bool new_clip) {
  SDiTConfig widened = start.config;
  widened.latent_channels = std::max(widened.latent_channels, config_.latent_channels);
  widened.landmark_map_frequencies =
      std::max(widened.landmark_map_frequencies, config_.landmark_map_frequencies);
  widened.landmark_map_openings |= config_.landmark_map_openings;
  widened.identity_change |= config_.identity_change;
  if (ToJson(widened) != ToJson(config_) || start.process.prediction != options_.prediction) {
    return absl::InvalidArgumentError(
        absl::StrCat("the run to start from trained ", ToJson(start.config).dump(), " to predict ",
                     PredictionName(start.process.prediction), ", this one trains ",
                     ToJson(config_).dump(), " to predict ", PredictionName(options_.prediction)));
  }
  const TensorMap weights = WidenSdit(StateDict(*start.network), start.config, config_);
  absl::Status status = model_->Unfold(weights, new_clip);
  status.Update(averaged_->Unfold(weights, new_clip));
  if (status.ok()) started_from_another_ = true;
  return status;
}

std::string SditTrainee::Description() const {
  return absl::StrCat(
      "sdit ", ToJson(config_).dump(), " predicts ", PredictionName(options_.prediction),
      options_.zero_terminal_snr ? " with zero terminal SNR" : "", " seed ", options_.seed,
      // Which is that of the other run then, and not a function of the latents.
      started_from_another_ ? absl::StrCat(" latents scaled by ", data_.scaling_factor) : "");
}

SDiT SditTrainee::Folded() const {
  torch::NoGradGuard no_grad;
  WhitenedSdit copy(config_, whitening_);
  const absl::Status status = LoadWeights(*copy, StateDict(*averaged_));
  TORCH_CHECK(status.ok(), status.ToString());
  copy->Fold();
  copy->eval();
  for (torch::Tensor& parameter : copy->parameters()) parameter.requires_grad_(false);
  return copy->sdit();
}

torch::Tensor SditTrainee::MapAveraged(const torch::Tensor& G, const torch::Tensor& L,
                                       bool keep_landmarks) {
  const torch::Tensor keep = torch::full({G.size(0)}, keep_landmarks, torch::kBool);
  return averaged_->map(G.to(options_.device), L.to(options_.device), keep.to(options_.device))
      .cpu();
}

torch::Tensor MinSnrWeight(const Schedule& schedule, Prediction prediction, double gamma,
                           const torch::Tensor& t) {
  const torch::Tensor signal = Gather(schedule.alphas_cumprod(), t, 1);
  const torch::Tensor snr = signal / (1 - signal);
  const torch::Tensor wanted = snr.clamp_max(gamma);
  // The error of x0 is 1/SNR times that of the noise and 1/(SNR + 1) times that of v.
  switch (prediction) {
    case Prediction::kEpsilon:
      return wanted / snr;
    case Prediction::kV:
      return wanted / (snr + 1);
    case Prediction::kX0:
      break;
  }
  return wanted;
}

torch::Tensor SampleRows(SDiT& sdit, const SamplingOptions& options,
                         const std::string& schedule_name, const SditRows& rows_on_cpu, int steps,
                         uint64_t seed) {
  torch::NoGradGuard no_grad;
  const auto schedule = Schedule::Create(schedule_name, kTrainSteps, absl::StrCat(steps));
  TORCH_CHECK(schedule.ok(), schedule.status().ToString());
  const SDiTConfig& config = sdit->config();
  const torch::Device device = DeviceOf(*sdit);
  const SditRows rows = OnDevice(rows_on_cpu, device);
  const torch::Tensor G = IdentityOf(rows, sdit->null_identity());
  SDiTInput input = InputFrom(config, rows);
  input.C = sdit->map(
      G, torch::where(rows.keep_landmarks.view({-1, 1, 1}), rows.landmarks, sdit->null_lmk()));
  if (input.source_latent) {
    input.source_C =
        sdit->map(G, rows.source_landmarks).select(1, 0).narrow(0, 0, input.source_latent->size(0));
  }
  const auto noise = [&](int step) {
    std::vector<torch::Tensor> of_rows;
    for (int64_t b = 0; b < rows.latents.size(0); ++b) {
      of_rows.push_back(FrameNoise(seed, static_cast<uint64_t>(b), static_cast<uint64_t>(step),
                                   rows.latents[b].sizes()));
    }
    return torch::stack(of_rows).to(device);
  };
  SamplerState state = {.x = noise(0), .previous_x0 = {}};
  for (int i = schedule->size() - 1; i >= 0; --i) {
    input.x = state.x;
    input.t = torch::full({state.x.size(0)}, schedule->timestep(i),
                          torch::dtype(torch::kInt64).device(device));
    SamplerStep(
        *schedule, i, sdit->forward(input), options, [&] { return noise(schedule->size() - i); },
        &state);
  }
  return state.x.cpu();
}

std::vector<int64_t> EvaluationFrames(int64_t num_frames, int64_t row_frames) {
  std::vector<int64_t> frames;
  for (int64_t k = 0; k < row_frames; ++k) {
    frames.push_back((k + 1) * (num_frames - 1) / row_frames);
  }
  return frames;
}

SditRows EvaluationRows(const SditData& data, const SDiTConfig& config,
                        const std::vector<int64_t>& people, const std::vector<int64_t>& drivers) {
  const auto frames = EvaluationFrames(data.num_frames(), config.num_frames);
  SditRows rows = EmptyRows(config, static_cast<int64_t>(people.size()), config.num_frames);
  for (int64_t b = 0; b < static_cast<int64_t>(people.size()); ++b) {
    const int64_t person = people[static_cast<size_t>(b)];
    const int64_t driver = drivers[static_cast<size_t>(b)];
    for (int64_t k = 0; k < config.num_frames; ++k) {
      const int64_t frame = frames[static_cast<size_t>(k)];
      const Landmarks landmarks = LandmarksOf(*data.people, driver, frame, /*found=*/true);
      rows.latents[b][k] = data.latents[person][frame];
      StoreNormalized(landmarks, rows.landmarks[b][k]);
      StoreMap(landmarks, config, rows.landmark_map[b][k]);
    }
    const SditData& source_data = data.portraits != nullptr ? *data.portraits : data;
    const Landmarks source = LandmarksOf(*source_data.people, person, 0, /*found=*/true);
    rows.source_latent[b] = source_data.latents[person][0];
    const torch::Tensor G = source_data.image_identity[person][0];
    rows.identity[b] = IdentityInput(config, G, G);
    StoreNormalized(source, rows.source_landmarks[b][0]);
    StoreMap(source, config, rows.source_landmark_map[b]);
  }
  return rows;
}

}  // namespace reenact
