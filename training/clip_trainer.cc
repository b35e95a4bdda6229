#include "training/clip_trainer.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "pipeline/models/clip_preprocess.h"
#include "pipeline/weights/load.h"
#include "training/bpe_trainer.h"
#include "training/state.h"

namespace reenact {
namespace {

constexpr int64_t kEmbedBatch = 64;
const double kMaxLogitScale = std::log(100.0);  // as CLIP
constexpr char kNamingPrefix[] = "naming.";
constexpr double kNamingScale = 10;  // of unit embeddings, so that small weights can be certain

ClipConfig ConfigFrom(const ClipTrainingOptions& options, const ClipTokenizer& tokenizer) {
  ClipConfig config;
  config.projection_dim = options.projection_dim;
  config.vision = {.hidden_size = options.hidden_size,
                   .image_size = options.image_size,
                   .intermediate_size = 4 * options.hidden_size,
                   .num_attention_heads = options.num_heads,
                   .num_hidden_layers = options.depth,
                   .patch_size = options.patch_size};
  config.text = {.hidden_size = options.hidden_size,
                 .intermediate_size = 4 * options.hidden_size,
                 .num_attention_heads = options.num_heads,
                 .num_hidden_layers = options.depth,
                 .vocab_size = tokenizer.vocab_size(),
                 .max_position_embeddings = static_cast<int64_t>(ClipTokenizer::kLength),
                 .bos_token_id = tokenizer.start_id(),
                 .eos_token_id = tokenizer.end_id()};
  return config;
}

// Without the padding that every row shares: text after the first end is ignored anyway.
torch::Tensor TrimPadding(const torch::Tensor& ids, int64_t end_id) {
  const int64_t longest = (ids != end_id).sum(1).max().item<int64_t>();
  return ids.narrow(1, 0, std::min(ids.size(1), longest + 1));
}

Clip Build(const ClipConfig& config, const ClipTrainingOptions& options) {
  torch::manual_seed(options.seed);
  Clip model(config);
  InitializeWeights(model);
  return OnDevice(std::move(model), options.device);
}

// Begins with about how often each term holds. Each has a direction of its own from the start: with
// weights of 0, what is not in the embedding yet would have no way into it.
torch::nn::Linear BuildNaming(const TermTable& terms, int64_t embedding, torch::Device device) {
  torch::nn::Linear naming(embedding, static_cast<int64_t>(terms.terms.size()));
  torch::NoGradGuard no_grad;
  naming->weight.normal_(0, 1 / std::sqrt(static_cast<double>(embedding)));
  naming->bias.copy_(torch::logit(terms.holds.mean(0)));
  return OnDevice(std::move(naming), device);
}

std::vector<NamedParameter> Trained(const Clip& model, const torch::nn::Linear& naming) {
  std::vector<NamedParameter> parameters = NamedParameters(*model);
  for (NamedParameter& parameter : NamedParameters(*naming)) {
    parameter.name = absl::StrCat(kNamingPrefix, parameter.name);
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

// The share of rows whose largest entry is on the diagonal.
double DiagonalWins(const torch::Tensor& similarity) {
  const torch::Tensor best = similarity.argmax(1);
  return (best == torch::arange(best.size(0))).to(torch::kFloat32).mean().item<double>();
}

// int64 [N,77] -> [N,projection_dim], unit length. Texts that come often are embedded once.
torch::Tensor EmbedTokens(Clip& clip, const torch::Tensor& tokens) {
  torch::NoGradGuard no_grad;
  const torch::Device device = DeviceOf(*clip);
  const auto [ids, places, counts] = torch::unique_dim(tokens, 0, true, /*return_inverse=*/true);
  std::vector<torch::Tensor> embeddings;
  for (int64_t i = 0; i < ids.size(0); i += kEmbedBatch) {
    const auto batch = ids.narrow(0, i, std::min(kEmbedBatch, ids.size(0) - i));
    const torch::Tensor trimmed = TrimPadding(batch, clip->config().text.eos_token_id);
    embeddings.push_back(NormalizeEmbedding(clip->text_embeds(trimmed.to(device))).cpu());
  }
  return torch::cat(embeddings).index_select(0, places);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ClipTrainee>> ClipTrainee::Create(ClipTrainingOptions options,
                                                                 const DataCache& data,
                                                                 const DataCache* held_out) {
  std::vector<std::string> texts;
  for (const auto& phrasings : data.captions) {
    texts.insert(texts.end(), phrasings.begin(), phrasings.end());
  }
  auto merges = LearnMerges(texts, options.max_merges);
  if (!merges.ok()) return merges.status();
  auto tokenizer = ClipTokenizer::FromMerges(*merges, options.max_merges);
  if (!tokenizer.ok()) return tokenizer.status();
  ClipConfig config = ConfigFrom(options, *tokenizer);
  if (absl::Status status = Validate(config); !status.ok()) return status;
  if (options.batch < 2 || options.batch > data.num_people()) {
    return absl::InvalidArgumentError(absl::StrCat("batch must be 2..", data.num_people()));
  }
  if (options.group < 1) return absl::InvalidArgumentError("group must be 1 or more");
  return std::unique_ptr<ClipTrainee>(new ClipTrainee(
      std::move(options), config, *std::move(merges), *std::move(tokenizer), data, held_out));
}

ClipTrainee::ClipTrainee(ClipTrainingOptions options, ClipConfig config, std::string merges,
                         ClipTokenizer tokenizer, const DataCache& data, const DataCache* held_out)
    : options_(std::move(options)),
      config_(config),
      merges_(std::move(merges)),
      tokenizer_(std::move(tokenizer)),
      data_(data),
      held_out_(held_out),
      pictures_(ClipPictures(data, options_.image_size)),
      tokens_(ClipTokens(data, tokenizer_)),
      terms_(TabulateTerms(data.captions)),
      neighbours_(data.captions),
      model_(Build(config_, options_)),
      naming_(BuildNaming(terms_, options_.projection_dim, options_.device)),
      averaged_(OnDevice(Clip(config_), options_.device)),
      optimizer_(Trained(model_, naming_), {.beta1 = 0.9,
                                            .beta2 = 0.98,
                                            .weight_decay = options_.weight_decay,
                                            .clip_norm = options_.gradient.clip_norm}),
      average_(*model_, *averaged_, options_.ema) {}

std::vector<int64_t> ClipTrainee::DrawPeople(int64_t number) const {
  std::mt19937_64 random(StepSeed(options_.seed, static_cast<uint64_t>(number)));
  std::vector<bool> taken(static_cast<size_t>(data_.num_people()));
  std::vector<int64_t> people;
  while (static_cast<int64_t>(people.size()) < options_.batch) {
    const auto person = static_cast<int64_t>(random() % static_cast<uint64_t>(data_.num_people()));
    if (taken[person]) continue;
    const int64_t left = options_.batch - static_cast<int64_t>(people.size());
    const auto group = neighbours_.Draw(person, std::min(options_.group, left), random, taken);
    people.insert(people.end(), group.begin(), group.end());
  }
  return people;
}

MicroBatch ClipTrainee::LossOf(int64_t number) {
  MicroBatch batch;
  std::mt19937_64 random(StepSeed(options_.seed + 1, static_cast<uint64_t>(number)));
  const auto below = [&random](int64_t bound) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
  };
  std::vector<torch::Tensor> pictures, ids, holds;
  for (const int64_t person : DrawPeople(number)) {
    holds.push_back(terms_.holds[person]);
    pictures.push_back(pictures_[person][below(pictures_.size(1))]);
    ids.push_back(tokens_[person][below(tokens_.size(1))]);
    batch.seeds.push_back(data_.seeds[static_cast<size_t>(person)]);
  }
  torch::Tensor image, text;
  {
    AutocastScope autocast(options_.bfloat16, options_.device);
    image = model_->image_embeds(ClipStandardize(torch::stack(pictures).to(options_.device)));
    text = model_->text_embeds(
        TrimPadding(torch::stack(ids), config_.text.eos_token_id).to(options_.device));
  }
  image = NormalizeEmbedding(image.to(torch::kFloat32));
  text = NormalizeEmbedding(text.to(torch::kFloat32));
  const torch::Tensor cosine = image.matmul(text.t());
  const torch::Tensor logits = cosine * model_->logit_scale().exp();
  const torch::Tensor own = torch::arange(options_.batch).to(options_.device);
  batch.loss = 0.5 * (torch::nn::functional::cross_entropy(logits, own) +
                      torch::nn::functional::cross_entropy(logits.t(), own));
  if (options_.consistency > 0) {
    const torch::Tensor across = (cosine - cosine.t()).square().mean();
    const torch::Tensor within = (image.matmul(image.t()) - text.matmul(text.t())).square().mean();
    batch.loss =
        batch.loss + options_.consistency * static_cast<double>(options_.batch) * (across + within);
  }
  if (options_.alignment > 0) {
    batch.loss = batch.loss + options_.alignment * (1 - cosine.diagonal().mean());
  }
  if (options_.naming > 0 && !terms_.terms.empty()) {
    const torch::Tensor truth = torch::stack(holds).to(options_.device);
    const torch::Tensor read = naming_->forward(kNamingScale * torch::cat({image, text}));
    const torch::Tensor cost = torch::binary_cross_entropy_with_logits(
        read, torch::cat({truth, truth}), {}, {}, at::Reduction::None);
    batch.loss = batch.loss + options_.naming * cost.sum(1).mean();
  }
  return batch;
}

absl::StatusOr<Trainee::StepResult> ClipTrainee::Step(int64_t step, double progress) {
  const auto gradient = ComputeGradient(options_.gradient, step, optimizer_.parameters(),
                                        [this](int64_t number) { return LossOf(number); });
  if (!gradient.ok()) return gradient.status();
  const double rate = LearningRate(options_.learning_rate, step, options_.warmup_steps, progress,
                                   /*decay_from=*/0, options_.final_lr_ratio);
  const double norm = optimizer_.Step(rate);
  {
    torch::NoGradGuard no_grad;
    model_->logit_scale().clamp_(0, kMaxLogitScale);
  }
  average_.Update();
  return StepResult{gradient->loss, rate, norm, gradient->seeds};
}

std::vector<std::pair<std::string, double>> ClipTrainee::Evaluate() {
  if (held_out_ == nullptr) return {};
  const torch::Tensor images = EmbedPictures(averaged_, *held_out_);
  const torch::Tensor texts = EmbedCaptions(averaged_, *held_out_, tokenizer_);
  const torch::Tensor first = images.select(1, 0), last = images.select(1, images.size(1) - 1);
  return {{"caption_top1", DiagonalWins(first.matmul(texts.select(1, 0).t()))},
          {"same_person_top1", DiagonalWins(first.matmul(last.t()))},
          {"same_person_cosine", (first * last).sum(1).mean().item<double>()}};
}

void ClipTrainee::Save(TensorMap& tensors) const {
  SaveTraining(*model_, *averaged_, average_, optimizer_, tensors);
  for (const auto& [name, tensor] : StateDict(*naming_)) {
    tensors[absl::StrCat(kNamingPrefix, name)] = tensor;
  }
}

absl::Status ClipTrainee::Load(const TensorMap& tensors) {
  absl::Status status = LoadTraining(tensors, *model_, *averaged_, average_, optimizer_);
  status.Update(LoadWeights(*naming_, WithoutPrefix(tensors, kNamingPrefix)));
  return status;
}

std::string ClipTrainee::Description() const {
  return absl::StrCat("clip image ", options_.image_size, " patch ", options_.patch_size, " width ",
                      options_.hidden_size, " depth ", options_.depth, " heads ",
                      options_.num_heads, " projection ", options_.projection_dim, " vocabulary ",
                      config_.text.vocab_size, " seed ", options_.seed);
}

torch::Tensor ClipPictures(const DataCache& data, int64_t size) {
  const int64_t people = data.num_people(), frames = data.num_frames();
  torch::Tensor pictures = torch::empty({people, frames, 3, size, size}, torch::kUInt8);
  for (int64_t p = 0; p < people; ++p) {
    for (int64_t f = 0; f < frames; ++f) {
      pictures[p][f].copy_(ClipResize(ToImage(data.frames[p][f]), size));
    }
  }
  return pictures;
}

torch::Tensor ClipStandardize(const torch::Tensor& pictures) {
  static const torch::Tensor mean =
      torch::tensor({0.48145466f, 0.4578275f, 0.40821073f}).view({1, 3, 1, 1});
  static const torch::Tensor deviation =
      torch::tensor({0.26862954f, 0.26130258f, 0.27577711f}).view({1, 3, 1, 1});
  const torch::Device device = pictures.device();
  return (pictures.to(torch::kFloat32) / 255 - mean.to(device)) / deviation.to(device);
}

torch::Tensor ClipTokens(const DataCache& data, const ClipTokenizer& tokenizer) {
  std::vector<torch::Tensor> people;
  for (const auto& phrasings : data.captions) {
    std::vector<torch::Tensor> ids;
    for (const std::string& text : phrasings) {
      ids.push_back(torch::tensor(tokenizer.Encode(text), torch::kInt64));
    }
    people.push_back(torch::stack(ids));
  }
  return torch::stack(people);
}

torch::Tensor EmbedPictures(Clip& clip, const DataCache& data) {
  torch::NoGradGuard no_grad;
  const torch::Device device = DeviceOf(*clip);
  const int64_t size = clip->config().vision.image_size;
  const torch::Tensor pictures = ClipPictures(data, size).view({-1, 3, size, size});
  std::vector<torch::Tensor> embeddings;
  for (int64_t i = 0; i < pictures.size(0); i += kEmbedBatch) {
    const auto batch = pictures.narrow(0, i, std::min(kEmbedBatch, pictures.size(0) - i));
    embeddings.push_back(
        NormalizeEmbedding(clip->image_embeds(ClipStandardize(batch.to(device)))).cpu());
  }
  return torch::cat(embeddings).view({data.num_people(), data.num_frames(), -1});
}

torch::Tensor EmbedCaptions(Clip& clip, const DataCache& data, const ClipTokenizer& tokenizer) {
  const torch::Tensor tokens = ClipTokens(data, tokenizer);
  return EmbedTokens(clip, tokens.flatten(0, 1)).unflatten(0, {tokens.size(0), tokens.size(1)});
}

torch::Tensor EmbedEdits(Clip& clip, const DataCache& data, const ClipTokenizer& tokenizer) {
  std::vector<torch::Tensor> from, to;
  for (const auto& frames : data.edits) {
    for (const auto& phrasings : frames) {
      for (const EditTexts& edit : phrasings) {
        from.push_back(torch::tensor(tokenizer.Encode(edit.from), torch::kInt64));
        to.push_back(torch::tensor(tokenizer.Encode(edit.to), torch::kInt64));
      }
    }
  }
  TORCH_CHECK(!from.empty(), "the cache has no edits");
  const torch::Tensor directions =
      EmbedTokens(clip, torch::stack(to)) - EmbedTokens(clip, torch::stack(from));
  return directions.view({data.num_people(), data.num_frames(), -1, directions.size(1)});
}

}  // namespace reenact
