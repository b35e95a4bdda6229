// Trains the two CLIP towers on pictures and captions of the people: the symmetric contrastive loss
// of Radford et al. 2021, each picture against the captions of a batch of other people.
//
// Among people drawn at random a few things tell everybody apart, and nothing else is learned: not
// the glasses, not which of two colours is the hair's. So a batch is made of groups of similar
// people. And an embedding of a caption should stand where the one of its picture does, so that
// differences of captions move pictures: the consistency terms of Goel et al. 2022 (CyCLIP).
// Small things, which few pairs turn on, are learned sooner when they are asked for by name: one
// linear layer reads from either embedding what the captions say (Huang et al. 2024, SuperClass,
// for pictures alone), so that a thing moves both embeddings the same way.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/clip_tokenizer.h"
#include "training/caption_neighbours.h"
#include "training/caption_terms.h"
#include "training/data_cache.h"
#include "training/gradient_step.h"
#include "training/training_run.h"

namespace reenact {

struct ClipTrainingOptions {
  int64_t image_size = 64;
  int64_t patch_size = 8;
  int64_t hidden_size = 128;
  int64_t depth = 4;
  int64_t num_heads = 4;
  int64_t projection_dim = 256;
  size_t max_merges = 600;
  int64_t batch = 128;
  int64_t group = 8;          // people of a batch who are similar (CaptionNeighbours); 1: none
  double consistency = 0.25;  // weight of each consistency term; 0: none
  // Weight of a picture's distance from its caption (1 - cosine): the contrast alone leaves
  // pictures and captions in two separate clouds, which the sDiT would have to learn one by one. 0:
  // none.
  double alignment = 1;
  double naming = 0.3;  // weight of each term (TermTable) read from each embedding; 0: none
  double learning_rate = 1e-3;
  int64_t warmup_steps = 100;
  double final_lr_ratio = 0.02;
  double weight_decay = 0.05;
  double ema = 0.99;
  bool bfloat16 = true;
  uint64_t seed = 1;
  torch::Device device = torch::kCPU;  // of the networks
  // Micro-batches and processes do not see each other's people: the loss contrasts within `batch`.
  GradientOptions gradient;
};

class ClipTrainee : public Trainee {
 public:
  // Both caches must outlive the trainee; `held_out` may be null. The vocabulary is learned from
  // the captions of `data`. kInvalidArgument if sizes do not fit.
  static absl::StatusOr<std::unique_ptr<ClipTrainee>> Create(ClipTrainingOptions options,
                                                             const DataCache& data,
                                                             const DataCache* held_out);

  absl::StatusOr<StepResult> Step(int64_t step, double progress) override;
  // On held-out people, one picture each: how often the own caption is the nearest, and how often
  // another frame's picture is nearer to the person's own than any other person's.
  std::vector<std::pair<std::string, double>> Evaluate() override;
  void Save(TensorMap& tensors) const override;
  absl::Status Load(const TensorMap& tensors) override;
  std::string Description() const override;

  // The people of micro-batch `number`, all different.
  std::vector<int64_t> DrawPeople(int64_t number) const;

  Clip& averaged() { return averaged_; }
  const ClipConfig& config() const { return config_; }
  const std::string& merges() const { return merges_; }

 private:
  ClipTrainee(ClipTrainingOptions options, ClipConfig config, std::string merges,
              ClipTokenizer tokenizer, const DataCache& data, const DataCache* held_out);
  MicroBatch LossOf(int64_t number);

  const ClipTrainingOptions options_;
  const ClipConfig config_;
  const std::string merges_;
  const ClipTokenizer tokenizer_;
  const DataCache& data_;
  const DataCache* held_out_;
  torch::Tensor pictures_;  // uint8 [P,F,3,S,S]
  torch::Tensor tokens_;    // int64 [P,phrasings,77]
  const TermTable terms_;
  const CaptionNeighbours neighbours_;
  Clip model_;
  torch::nn::Linear naming_;  // from an embedding to the logit of each term
  Clip averaged_;
  AdamW optimizer_;
  MovingAverage average_;
};

// Pictures [P,F,3,s,s] of a cache as CLIP wants them, still in bytes: uint8 [P,F,3,size,size].
torch::Tensor ClipPictures(const DataCache& data, int64_t size);
// The last step of ClipPreprocess(): uint8 [N,3,S,S] to standardised float32.
torch::Tensor ClipStandardize(const torch::Tensor& pictures);
// Ids of every caption, int64 [P,phrasings,77].
torch::Tensor ClipTokens(const DataCache& data, const ClipTokenizer& tokenizer);

// Normalised embeddings of a whole cache.
torch::Tensor EmbedPictures(Clip& clip, const DataCache& data);  // [P,F,projection_dim]
torch::Tensor EmbedCaptions(Clip& clip, const DataCache& data,
                            const ClipTokenizer& tokenizer);  // [P,phrasings,projection_dim]
// Of the edits of a cache that has some, the direction each goes: to - from.
torch::Tensor EmbedEdits(Clip& clip, const DataCache& data,
                         const ClipTokenizer& tokenizer);  // [P,F,phrasings,projection_dim]

}  // namespace reenact
