#include "training/trained_parts.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/engine/bundle.h"
#include "pipeline/models/config_json.h"
#include "pipeline/weights/load.h"
#include "pipeline/weights/safetensors.h"

namespace reenact {
namespace {

using nlohmann::json;

json TrainingRecord(const RunSummary& summary) {
  json record = {{"steps", summary.step}, {"minutes", std::round(summary.seconds / 6) / 10}};
  if (!summary.started_from.is_null()) record["started_from"] = summary.started_from;
  return record;
}

absl::Status Write(const std::string& path, const torch::nn::Module& module, const json& about) {
  TensorMap tensors;
  for (const auto& [name, tensor] : StateDict(module)) {
    tensors[name] = tensor.detach().cpu().to(torch::kFloat32).contiguous();
  }
  return WriteSafetensors(path, tensors, {{"about", about.dump()}});
}

struct Part {
  SafetensorsFile file;
  json about;
};

absl::StatusOr<Part> Read(const std::string& path) {
  auto file = ReadSafetensors(path);
  if (!file.ok()) return file.status();
  json about = json::parse(file->metadata["about"], nullptr, /*allow_exceptions=*/false);
  if (!about.is_object() || !about.contains("config") || !about["config"].is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " does not hold a trained network"));
  }
  return Part{*std::move(file), std::move(about)};
}

absl::Status Fill(torch::nn::Module& module, const TensorMap& tensors) {
  if (absl::Status status = LoadWeights(module, tensors); !status.ok()) return status;
  module.eval();
  for (torch::Tensor& parameter : module.parameters()) parameter.requires_grad_(false);
  return absl::OkStatus();
}

bool IsBundle(const std::string& folder) {
  return std::filesystem::exists(folder + "/bundle.json");
}

// A part of a bundle is read-only and lives with the bundle: a copy is neither.
template <typename Config, typename Network>
Network Copy(const Config& config, const Network& part) {
  Network copy(config);
  const absl::Status status = Fill(*copy, StateDict(*part));
  TORCH_CHECK(status.ok(), status.ToString());
  return copy;
}

// As far as the bundle says so.
json TrainingOf(const Bundle& bundle, const char* part) {
  return bundle.config.training.value(part, json::object());
}

}  // namespace

absl::Status WriteAutoencoder(const std::string& folder, const AutoencoderKLConfig& config,
                              AutoencoderKL& autoencoder, const RunSummary& summary) {
  return Write(folder + "/autoencoder.safetensors", *autoencoder,
               {{"config", ToJson(config)}, {"training", TrainingRecord(summary)}});
}

absl::StatusOr<TrainedAutoencoder> ReadAutoencoder(const std::string& folder) {
  if (IsBundle(folder)) {
    const auto bundle = ReadBundle(folder);
    if (!bundle.ok()) return bundle.status();
    return TrainedAutoencoder{bundle->config.autoencoder,
                              Copy(bundle->config.autoencoder, bundle->autoencoder),
                              TrainingOf(*bundle, "autoencoder")};
  }
  auto part = Read(folder + "/autoencoder.safetensors");
  if (!part.ok()) return part.status();
  auto config = AutoencoderKLConfigFromJson(part->about["config"]);
  if (!config.ok()) return config.status();
  TrainedAutoencoder result{*config, AutoencoderKL(*config), part->about["training"]};
  if (absl::Status status = Fill(*result.network, part->file.tensors); !status.ok()) return status;
  return result;
}

absl::Status WriteClip(const std::string& folder, const ClipConfig& config, Clip& clip,
                       const std::string& merges, const RunSummary& summary) {
  std::ofstream out(folder + "/merges.txt", std::ios::binary);
  out << merges;
  out.close();
  if (!out) return absl::UnavailableError(absl::StrCat("cannot write ", folder, "/merges.txt"));
  return Write(folder + "/clip.safetensors", *clip,
               {{"config", ToJson(config)}, {"training", TrainingRecord(summary)}});
}

absl::StatusOr<TrainedClip> ReadClip(const std::string& folder) {
  std::ifstream in(folder + "/merges.txt", std::ios::binary);
  std::ostringstream merges;
  merges << in.rdbuf();
  const auto lacks_merges = absl::NotFoundError(absl::StrCat(folder, "/merges.txt cannot be read"));
  if (IsBundle(folder)) {
    const auto bundle = ReadBundle(folder);
    if (!bundle.ok()) return bundle.status();
    if (!in) return lacks_merges;
    return TrainedClip{bundle->config.clip, Copy(bundle->config.clip, bundle->clip), merges.str(),
                       TrainingOf(*bundle, "clip")};
  }
  auto part = Read(folder + "/clip.safetensors");
  if (!part.ok()) return part.status();
  if (!in) return lacks_merges;
  auto config = ClipConfigFromJson(part->about["config"]);
  if (!config.ok()) return config.status();
  TrainedClip result{*config, Clip(*config), merges.str(), part->about["training"]};
  if (absl::Status status = Fill(*result.network, part->file.tensors); !status.ok()) return status;
  return result;
}

absl::Status WriteSdit(const std::string& folder, const SDiTConfig& config, SDiT& sdit,
                       const DiffusionProcess& process, const RunSummary& summary) {
  return Write(folder + "/sdit.safetensors", *sdit,
               {{"config", ToJson(config)},
                {"prediction", PredictionName(process.prediction)},
                {"schedule", process.schedule},
                {"scaling_factor", process.scaling_factor},
                {"training", TrainingRecord(summary)}});
}

absl::StatusOr<TrainedSdit> ReadSdit(const std::string& folder) {
  if (IsBundle(folder)) {
    const auto bundle = ReadBundle(folder);
    if (!bundle.ok()) return bundle.status();
    const BundleConfig& config = bundle->config;
    return TrainedSdit{config.sdit, Copy(config.sdit, bundle->sdit),
                       DiffusionProcess{.prediction = config.prediction,
                                        .schedule = config.schedule,
                                        .scaling_factor = config.autoencoder.scaling_factor},
                       TrainingOf(*bundle, "sdit")};
  }
  auto part = Read(folder + "/sdit.safetensors");
  if (!part.ok()) return part.status();
  auto config = SDiTConfigFromJson(part->about["config"]);
  if (!config.ok()) return config.status();
  auto prediction = PredictionFromName(part->about.value("prediction", ""));
  if (!prediction.ok()) return prediction.status();
  TrainedSdit result{*config, SDiT(*config),
                     DiffusionProcess{.prediction = *prediction,
                                      .schedule = part->about.value("schedule", "linear"),
                                      .scaling_factor = part->about.value("scaling_factor", 0.0)},
                     part->about["training"]};
  if (result.process.scaling_factor <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(folder, ": no scaling factor"));
  }
  if (absl::Status status = Fill(*result.network, part->file.tensors); !status.ok()) return status;
  return result;
}

}  // namespace reenact
