// Trains the sDiT and its mapping network (paper, sections 3 and 4.1) on latents of the people.
//
// A training row is T frames of one person's clip at irregular distances, and another frame of the
// clip as the source: with probability `far_source` the first or last frame, whichever is farther
// from the T, as in the paper, else any, since a user's photograph is just any. With portraits the
// source is often one of those: a user's photograph was not taken during the driver's clip.
//
// Letters: P people, F frames kept of a clip, T frames of a row, C latent channels, h latent side.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/sdit.h"
#include "training/data_cache.h"
#include "training/gradient_step.h"
#include "training/landmark_augmentation.h"
#include "training/trained_parts.h"
#include "training/training_run.h"
#include "training/whitening.h"

namespace reenact {

struct SditTrainingOptions {
  int64_t hidden_size = 192;
  int64_t depth = 6;
  int64_t num_heads = 3;
  int64_t patch_size = 2;
  int64_t num_frames = 4;  // T
  int64_t mapping_blocks = 4;
  SourceTokens source = SourceTokens::kSelf;
  bool landmark_map = true;
  int64_t landmark_map_frequencies = 3;
  bool landmark_map_openings = true;
  bool identity_change = true;  // with source tokens
  // The paper: kEpsilon with learn_sigma. v reaches far better pictures in hours on a CPU.
  Prediction prediction = Prediction::kV;
  bool learn_sigma = false;
  // The last step is pure noise (kLinearZeroTerminalSnr). Not with kEpsilon, nor with
  // min_snr_gamma, which would give that step no weight.
  bool zero_terminal_snr = false;

  int64_t clips = 4;  // rows of a step
  // Share of steps with single frames of T times as many people instead: what G means is learned
  // from people, of whom a row has one (pictures beside videos, Ho et al. 2022).
  double single_frames = 0;
  double learning_rate = 1.2e-3;
  double mapping_lr_ratio = 1;  // the paper: 0.1
  int64_t warmup_steps = 100;
  double decay_from = 0.6;
  double final_lr_ratio = 0.02;
  double weight_decay = 0;
  double ema = 0.999;
  double expressive_weight = 1;  // lambda: eyes and mouth count 1 + lambda times
  // Cells of the latent grid that show some of them, and the cells beside those, count so much
  // more: lids, brows, glasses, beards.
  double surround_weight = 0;

  double portrait_source = 0.5;  // the source is from another clip, if there are portraits
  // The source is a portrait with other looks, if there are such, and G says what they are to be:
  // that is what an edit asks for.
  double changed_source = 0.3;
  // Of those rows so many have one frame in the source's very pose: the portrait that the other
  // looks were drawn over, whose eyes may differ too (DataOptions::eye_play). Without it the
  // network copies a source whose pose is near the driver's, lids and all.
  double same_pose = 0;
  double far_source = 0.5;  // else it is the farther of the clip's first and last frame
  // Then G is that portrait's, moved by an edit's direction (text(to) - text(from)) as the engine
  // does it, at a strength between 0.5 and 1.
  double edited_identity = 0.5;
  double text_identity = 0.3;       // G from a caption instead of the picture
  double drop_identity = 0.1;       // G = null_clip
  double drop_source_tokens = 0.1;  // then G is a caption's embedding half the time
  // The same of single frames; none: as drop_source_tokens. With 1 their source is not computed,
  // which is half of their cost, and nobody but G tells what they show.
  std::optional<double> drop_single_source_tokens;
  // The time step is the noisiest of so many draws. Few steps of sampling are mostly noisy ones,
  // where all of what frames become is left to the conditions. The paper: 1.
  int time_draws = 1;
  // The same of rows without source tokens, or with a source of other looks: there it is left to G.
  int hidden_source_draws = 1;
  double drop_landmarks = 0.05;
  double shared_noise = 0.5;  // all frames have the same noise, as with BundleConfig::shared_noise
  double lookalike = 0.4;     // driving landmarks are another person's with the same motion
  // Landmarks are what a network found in the pictures, if they say: a reenactment is driven by
  // such, and they tell less of lids and gaze than exact ones. The paper: 1.
  double found_landmarks = 1;
  AugmentationOptions augmentation;
  int64_t whitened_components = 96;
  double whitening_floor = 0.002;
  // Of G: what tells people apart is a small part of an embedding's length too.
  int64_t identity_components = 96;
  double identity_floor = 0.02;

  // Weight of a row's squared error by its signal-to-noise ratio: min(SNR, gamma) of the error in
  // x0 (Hang et al. 2023). 0: the squared error of what is predicted, unweighted.
  double min_snr_gamma = 0;

  int evaluation_steps = 4;
  Sampler evaluation_sampler = Sampler::kDdim;
  int64_t evaluation_clips = 32;
  bool bfloat16 = true;
  uint64_t seed = 1;
  torch::Device device = torch::kCPU;  // of the networks; rows are drawn on the CPU
  GradientOptions gradient;

  // Schedule::Create's name.
  const char* schedule() const { return zero_terminal_snr ? kLinearZeroTerminalSnr : "linear"; }
};

// What the sDiT sees of a set of people.
struct SditData {
  torch::Tensor latents;         // float32 [P,F,C,h,h], scaled
  double scaling_factor = 1;     // by which they were multiplied
  torch::Tensor expressive;      // float32 [P,F,h,h]: share of a cell that is eyes or mouth
  torch::Tensor image_identity;  // float32 [P,F,clip_dim], unit length
  torch::Tensor text_identity;   // float32 [P,phrasings,clip_dim], unit length
  torch::Tensor edits = {};      // float32 [P,F,phrasings,clip_dim], EmbedEdits(); may be undefined
  const DataCache* people = nullptr;
  // The same people in other clips; may be null. Their frames serve as sources.
  const SditData* portraits = nullptr;
  // The same people with other looks (ChangeLooks); may be null.
  const SditData* changed = nullptr;

  int64_t num_people() const { return latents.size(0); }
  int64_t num_frames() const { return latents.size(1); }
};

// The masks of a cache averaged over the cells of a latent grid of side `latent_size`.
torch::Tensor ExpressiveShare(const DataCache& data, int64_t latent_size);

// Of landmarks and of G.
struct SditWhitening {
  Whitening landmarks, identity;
};

// The sDiT while it is trained: its mapping network reads whitened landmarks and G.
class WhitenedSditImpl : public torch::nn::Module {
 public:
  WhitenedSditImpl(const SDiTConfig& config, const SditWhitening& whitening);

  // G [B,identity_width], L [B,T,1434] raw; rows where `keep_landmarks` [B] is false have none.
  torch::Tensor map(const torch::Tensor& G, const torch::Tensor& L,
                    const torch::Tensor& keep_landmarks);
  SDiT sdit() const { return sdit_; }
  // Makes sdit() take raw landmarks and G: what is stored and used after training.
  void Fold();
  // The reverse: goes on with `weights` of an sDiT that takes raw ones. Its null inputs become the
  // means of the whitening. `new_clip`: all that is about G stays as it is.
  absl::Status Unfold(TensorMap weights, bool new_clip);

 private:
  const SditWhitening whitening_;
  SDiT sdit_;
  torch::nn::Linear whitened_, whitened_identity_;
};
TORCH_MODULE(WhitenedSdit);

// One row per person, ready for the network except for noise and time.
struct SditRows {
  torch::Tensor latents;              // [B,T,C,h,h]
  torch::Tensor weight;               // [B,T,1,h,h]
  torch::Tensor source_latent;        // [B,C,h,h]
  torch::Tensor identity;             // [B,identity_width], IdentityInput()
  torch::Tensor keep_identity;        // [B] bool
  torch::Tensor keep_source;          // [B] bool
  torch::Tensor same_looks;           // [B] bool; not where the source has other looks than frames
  torch::Tensor landmarks;            // [B,T,1434] normalised
  torch::Tensor keep_landmarks;       // [B] bool
  torch::Tensor landmark_map;         // [B,T,S,landmark_map_channels()]; zeros where dropped
  torch::Tensor source_landmarks;     // [B,1,1434]
  torch::Tensor source_landmark_map;  // [B,S,landmark_map_channels()]
  std::vector<uint64_t> seeds;        // [B], the people
};

// What rows are noised with.
struct SditNoise {
  torch::Tensor t;      // int64 [B], training steps
  torch::Tensor noise;  // [B,T,C,h,h]
};

class SditTrainee : public Trainee {
 public:
  // The data and what they point to must outlive the trainee; `held_out` may be null, and so may
  // `autoencoder`, which turns latents back into pictures for Evaluate() and is moved to the
  // device.
  static absl::StatusOr<std::unique_ptr<SditTrainee>> Create(SditTrainingOptions options,
                                                             const SditData& data,
                                                             const SditData* held_out,
                                                             AutoencoderKL autoencoder);

  absl::StatusOr<StepResult> Step(int64_t step, double progress) override;
  // Of held-out people: fvu, the squared error of sampled latents as a share of the variance of the
  // true ones, and psnr of the decoded pictures.
  std::vector<std::pair<std::string, double>> Evaluate() override;
  // Per held-out person the source and the true frames above, the generated ones below. Needs an
  // autoencoder.
  std::vector<std::vector<torch::Tensor>> Samples() override;
  void Save(TensorMap& tensors) const override;
  absl::Status Load(const TensorMap& tensors) override;
  std::string Description() const override;

  // Begins from the result of another run instead of random weights. `new_clip`: G came from other
  // towers then, so the layer that reads it begins anew. kInvalidArgument: the run had another
  // architecture or predicted something else; then nothing is changed. Its schedule may have been
  // another.
  absl::Status StartFrom(const TrainedSdit& start, bool new_clip = false);

  // A copy of the averaged network that takes raw landmarks and G, on the CPU.
  SDiT Folded() const;
  // The averaged network's conditions C [B,T,D] as training computes them, before folding; on the
  // CPU, as G and L are.
  torch::Tensor MapAveraged(const torch::Tensor& G, const torch::Tensor& L,
                            bool keep_landmarks = true);
  const SDiTConfig& config() const { return config_; }
  // The rows of micro-batch `number`: `clips` of T frames, or T * `clips` of one.
  SditRows DrawRows(int64_t number) const;
  SditNoise DrawNoise(int64_t number, const SditRows& rows) const;
  // Leaves the gradient of step `step` in the parameters().
  absl::StatusOr<Gradient> BackPropagate(int64_t step);
  const std::vector<NamedParameter>& parameters() const { return optimizer_.parameters(); }

 private:
  SditTrainee(SditTrainingOptions options, SDiTConfig config, SditWhitening whitening,
              Schedule schedule, const SditData& data, const SditData* held_out,
              AutoencoderKL autoencoder);
  MicroBatch LossOf(int64_t number);
  // Who is shown in a row, and what of them.
  struct RowChoice {
    int64_t person = 0;
    std::vector<int64_t> frames;  // of the clip, one for each of the row
    const SditData* source_data = nullptr;
    int64_t source = 0;  // its frame in source_data
    bool keep_source = true;
    bool changed = false;    // the source has other looks
    int64_t same_pose = -1;  // in `frames`: the portrait in the source's pose takes its place
  };
  RowChoice ChooseRow(int64_t T, std::mt19937_64& random) const;
  // Row `b`: latents and landmarks of frames and source; G.
  void StoreFrames(const RowChoice& choice, int64_t b, std::mt19937_64& random,
                   SditRows& rows) const;
  void StoreIdentity(const RowChoice& choice, int64_t b, std::mt19937_64& random,
                     SditRows& rows) const;
  // Whether micro-batch `number` is one of single frames, and the seed of its row `b`.
  bool IsSingleFrames(int64_t number) const;
  uint64_t RowSeed(uint64_t stream, int64_t number, int64_t b) const;

  const SditTrainingOptions options_;
  const SDiTConfig config_;
  const SditWhitening whitening_;
  const Schedule schedule_;
  const SditData& data_;
  const SditData* held_out_;
  AutoencoderKL autoencoder_;
  WhitenedSdit model_;
  WhitenedSdit averaged_;
  AdamW optimizer_;
  MovingAverage average_;
  bool started_from_another_ = false;
};

// What multiplies the squared error of step t's prediction so that the error in x0 counts
// min(SNR, gamma) times. [N] from t [N].
torch::Tensor MinSnrWeight(const Schedule& schedule, Prediction prediction, double gamma,
                           const torch::Tensor& t);

// Samples rows in `steps` steps of `schedule` (Schedule::Create's name), each by itself. `sdit`
// takes raw landmarks, on any device. -> [B,T,C,h,h] on the CPU.
torch::Tensor SampleRows(SDiT& sdit, const SamplingOptions& options, const std::string& schedule,
                         const SditRows& rows, int steps, uint64_t seed);

// Rows of held-out people. The source is the first portrait, or the first frame if there are none;
// the targets are T later frames, spread over the clip. `drivers[i]` moves `people[i]` (itself: a
// reconstruction), by found landmarks if there are such.
SditRows EvaluationRows(const SditData& data, const SDiTConfig& config,
                        const std::vector<int64_t>& people, const std::vector<int64_t>& drivers);

// The frames EvaluationRows() takes from a clip of `num_frames`; never frame 0.
std::vector<int64_t> EvaluationFrames(int64_t num_frames, int64_t row_frames);

}  // namespace reenact
