#include "training/autoencoder_trainer.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pipeline/weights/load.h"
#include "training/state.h"
#include "training/widen.h"

namespace reenact {
namespace {

namespace F = torch::nn::functional;

constexpr int64_t kPool = 8;
constexpr int64_t kEvaluationPictures = 64;
constexpr int64_t kEncodeBatch = 16;

AutoencoderKLConfig ConfigFrom(const AutoencoderTrainingOptions& options) {
  AutoencoderKLConfig config;
  config.latent_channels = options.latent_channels;
  config.block_out_channels = options.block_out_channels;
  config.layers_per_block = options.layers_per_block;
  config.norm_num_groups = options.norm_num_groups;
  config.scaling_factor = 1;
  return config;
}

// Residual blocks and attention begin as the identity.
void ZeroBranchOutputs(torch::nn::Module& model) {
  torch::NoGradGuard no_grad;
  for (auto& entry : model.named_parameters()) {
    if (absl::StrContains(entry.key(), ".conv2.") || absl::StrContains(entry.key(), ".to_out.")) {
      entry.value().zero_();
    }
  }
}

// Autoencoder built from the seed alone, then moved.
AutoencoderKL Build(const AutoencoderKLConfig& config, const AutoencoderTrainingOptions& options) {
  torch::manual_seed(options.seed);
  AutoencoderKL model(config);
  InitializeWeights(model);
  ZeroBranchOutputs(*model);
  if (options.decoder_only) {
    for (auto& entry : model->named_parameters()) {
      if (entry.key().starts_with("encoder.") || entry.key().starts_with("quant_conv.")) {
        entry.value().requires_grad_(false);
      }
    }
  }
  return OnDevice(std::move(model), options.device);
}

double Psnr(double squared_error, double count) {
  return 10 * std::log10(255.0 * 255.0 * count / std::max(squared_error, 1e-12));
}

}  // namespace

absl::StatusOr<std::unique_ptr<AutoencoderTrainee>> AutoencoderTrainee::Create(
    AutoencoderTrainingOptions options, const DataCache& data, const DataCache* held_out) {
  AutoencoderKLConfig config = ConfigFrom(options);
  if (absl::Status status = Validate(config); !status.ok()) return status;
  const int64_t downscale = config.downscale();
  if (options.crop % downscale != 0 || options.crop % kPool != 0 || options.crop > data.size() ||
      data.size() % downscale != 0 || options.batch < 1) {
    return absl::InvalidArgumentError(absl::StrCat("crops of ", options.crop, " do not fit ",
                                                   data.size(), " pixels and downscale ",
                                                   downscale));
  }
  return std::unique_ptr<AutoencoderTrainee>(
      new AutoencoderTrainee(std::move(options), std::move(config), data, held_out));
}

AutoencoderTrainee::AutoencoderTrainee(AutoencoderTrainingOptions options,
                                       AutoencoderKLConfig config, const DataCache& data,
                                       const DataCache* held_out)
    : options_(std::move(options)),
      config_(std::move(config)),
      data_(data),
      held_out_(held_out),
      model_(Build(config_, options_)),
      averaged_(OnDevice(AutoencoderKL(config_), options_.device)),
      optimizer_(NamedParameters(*model_),
                 {.beta1 = 0.9, .beta2 = 0.95, .clip_norm = options_.gradient.clip_norm}),
      average_(*model_, *averaged_, options_.ema) {}

MicroBatch AutoencoderTrainee::LossOf(int64_t number) {
  MicroBatch batch;
  std::vector<torch::Tensor> crops, masks, noises;
  const int64_t latent_side = options_.crop / config_.downscale();
  for (int64_t i = 0; i < options_.batch; ++i) {
    const auto row = static_cast<uint64_t>(number * options_.batch + i);
    std::mt19937_64 random(StepSeed(options_.seed, row));
    const auto below = [&random](int64_t bound) {
      return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
    };
    const int64_t person = below(data_.num_people()), frame = below(data_.num_frames());
    const int64_t y = below(data_.size() - options_.crop + 1);
    const int64_t x = below(data_.size() - options_.crop + 1);
    const auto cut = [&](const torch::Tensor& picture) {
      return picture.narrow(-2, y, options_.crop).narrow(-1, x, options_.crop);
    };
    crops.push_back(cut(data_.frames[person][frame]));
    masks.push_back(cut(data_.masks[person][frame]).unsqueeze(0));
    noises.push_back(RowNoise(random(), {options_.latent_channels, latent_side, latent_side}));
    batch.seeds.push_back(data_.seeds[static_cast<size_t>(person)]);
  }
  const torch::Tensor x = ToUnitRange(torch::stack(crops).to(options_.device));
  const torch::Tensor weight =
      PixelWeight(torch::stack(masks).to(options_.device).to(torch::kFloat32), options_);

  Moments moments;
  torch::Tensor reconstruction;
  {
    AutocastScope autocast(options_.bfloat16, options_.device);
    moments = model_->encode(x);
    moments.mean = moments.mean.to(torch::kFloat32);
    moments.logvar = moments.logvar.to(torch::kFloat32);
    reconstruction = model_->decode(moments.sample(torch::stack(noises).to(options_.device)))
                         .to(torch::kFloat32);
  }
  const torch::Tensor difference = reconstruction - x;
  const torch::Tensor l1 = (weight * difference.abs()).mean();
  const torch::Tensor mse = (weight * difference.square()).mean();
  const torch::Tensor blocks = torch::avg_pool2d(difference, kPool).abs().mean();
  // Per latent number, so that the weight means the same for every crop and channel count.
  const torch::Tensor kl = moments.kl().mean() / static_cast<double>(moments.mean[0].numel());
  batch.loss = l1 + 0.5 * mse + blocks + options_.kl_weight * kl;
  return batch;
}

absl::StatusOr<Gradient> AutoencoderTrainee::BackPropagate(int64_t step) {
  return ComputeGradient(options_.gradient, step, optimizer_.parameters(),
                         [this](int64_t number) { return LossOf(number); });
}

absl::StatusOr<Trainee::StepResult> AutoencoderTrainee::Step(int64_t step, double progress) {
  const auto gradient = BackPropagate(step);
  if (!gradient.ok()) return gradient.status();
  const double rate = LearningRate(options_.learning_rate, step, options_.warmup_steps, progress,
                                   options_.decay_from, options_.final_lr_ratio);
  const double norm = optimizer_.Step(rate);
  average_.Update();
  return StepResult{gradient->loss, rate, norm, gradient->seeds};
}

std::vector<std::pair<std::string, double>> AutoencoderTrainee::Evaluate() {
  if (held_out_ == nullptr) return {};
  const Fidelity fidelity = MeasureFidelity(averaged_, *held_out_, kEvaluationPictures);
  return {{"psnr", fidelity.psnr}, {"psnr_expressive", fidelity.psnr_expressive}};
}

std::vector<std::vector<torch::Tensor>> AutoencoderTrainee::Samples() {
  if (held_out_ == nullptr) return {};
  torch::NoGradGuard no_grad;
  std::vector<std::vector<torch::Tensor>> rows(4);
  const int64_t half = std::min<int64_t>(10, held_out_->num_people() / 2);
  for (int64_t i = 0; i < 2 * half; ++i) {
    const torch::Tensor picture = held_out_->frames[i][i % held_out_->num_frames()];
    const auto z = averaged_->encode(ToUnitRange(picture.unsqueeze(0).to(options_.device))).mean;
    const size_t row = i < half ? 0 : 2;
    rows[row].push_back(picture);
    rows[row + 1].push_back(ToBytes(averaged_->decode(z))[0].cpu());
  }
  return rows;
}

void AutoencoderTrainee::Save(TensorMap& tensors) const {
  SaveTraining(*model_, *averaged_, average_, optimizer_, tensors);
}

absl::Status AutoencoderTrainee::Load(const TensorMap& tensors) {
  return LoadTraining(tensors, *model_, *averaged_, average_, optimizer_);
}

absl::Status AutoencoderTrainee::StartFrom(const AutoencoderKLConfig& about,
                                           const TensorMap& weights) {
  if (about.latent_channels > config_.latent_channels) {
    return absl::InvalidArgumentError(
        absl::StrCat("the run to start from has ", about.latent_channels,
                     " latent channels, more than the ", config_.latent_channels, " of this one"));
  }
  torch::manual_seed(options_.seed);
  const TensorMap widened =
      WidenAutoencoder(weights, about.latent_channels, config_.latent_channels);
  absl::Status status = LoadWeights(*model_, widened);
  status.Update(LoadWeights(*averaged_, widened));
  return status;
}

std::string AutoencoderTrainee::Description() const {
  return absl::StrCat("autoencoder z", options_.latent_channels, " channels ",
                      absl::StrJoin(options_.block_out_channels, ","), " layers ",
                      options_.layers_per_block, " groups ", options_.norm_num_groups,
                      options_.decoder_only ? " decoder only" : "", " seed ", options_.seed);
}

torch::Tensor PixelWeight(const torch::Tensor& masks, const AutoencoderTrainingOptions& options) {
  const torch::Tensor weight = 1 + (options.expressive_weight - 1) * masks;
  if (options.surround == 0) return weight;
  const torch::Tensor near = F::max_pool2d(
      masks, F::MaxPool2dFuncOptions(2 * options.surround + 1).stride(1).padding(options.surround));
  return torch::maximum(weight, 1 + (std::sqrt(options.expressive_weight) - 1) * near);
}

torch::Tensor ToUnitRange(const torch::Tensor& pictures) {
  return pictures.to(torch::kFloat32).div_(127.5).sub_(1).contiguous();
}

torch::Tensor ToBytes(const torch::Tensor& pictures) {
  return pictures.to(torch::kFloat32).add(1).mul_(127.5).round_().clamp_(0, 255).to(torch::kUInt8);
}

Fidelity MeasureFidelity(AutoencoderKL& autoencoder, const DataCache& data, int64_t max_pictures) {
  torch::NoGradGuard no_grad;
  const torch::Device device = DeviceOf(*autoencoder);
  const int64_t people = std::min(data.num_people(), max_pictures);
  double error = 0, count = 0, expressive_error = 0, expressive_count = 0;
  for (int64_t p = 0; p < people; ++p) {
    const int64_t frame = p % data.num_frames();
    const torch::Tensor picture = data.frames[p][frame].unsqueeze(0).to(device);
    const torch::Tensor output =
        ToBytes(autoencoder->decode(autoencoder->encode(ToUnitRange(picture)).mean));
    const torch::Tensor squared =
        (output.to(torch::kFloat32) - picture.to(torch::kFloat32)).square();
    const torch::Tensor mask = data.masks[p][frame].to(device).to(torch::kFloat32);
    error += squared.sum().item<double>();
    count += static_cast<double>(squared.numel());
    expressive_error += (squared * mask).sum().item<double>();
    expressive_count += 3 * mask.sum().item<double>();
  }
  return {Psnr(error, count), Psnr(expressive_error, std::max(1.0, expressive_count))};
}

torch::Tensor EncodeAll(AutoencoderKL& autoencoder, const DataCache& data, bool bfloat16) {
  torch::NoGradGuard no_grad;
  const torch::Device device = DeviceOf(*autoencoder);
  const int64_t total = data.num_people() * data.num_frames();
  const torch::Tensor pictures = data.frames.reshape({total, 3, data.size(), data.size()});
  std::vector<torch::Tensor> latents;
  for (int64_t i = 0; i < total; i += kEncodeBatch) {
    AutocastScope autocast(bfloat16, device);
    const auto batch = pictures.narrow(0, i, std::min(kEncodeBatch, total - i));
    latents.push_back(
        autoencoder->encode(ToUnitRange(batch.to(device))).mean.to(torch::kFloat32).cpu());
  }
  const torch::Tensor all = torch::cat(latents);
  return all.reshape({data.num_people(), data.num_frames(), all.size(1), all.size(2), all.size(3)});
}

}  // namespace reenact
