#include "pipeline/weights/checkpoint_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "pipeline/weights/load.h"
#include "pipeline/weights/mapped_file.h"
#include "pipeline/weights/pt_file.h"
#include "pipeline/weights/safetensors.h"

namespace reenact {
namespace {

using nlohmann::json;

constexpr size_t kMaxProblems = 50;
constexpr uint64_t kMaxJson = uint64_t{64} << 20;

absl::Status In(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

// A header's length that fits, and its first character. A ZIP archive or a pickle that begins so
// would be of absurd size; other files named .safetensors are bad ones.
bool LooksLikeSafetensors(std::string_view bytes, const std::string& path) {
  uint64_t length = 0;
  if (bytes.size() > sizeof(length)) std::memcpy(&length, bytes.data(), sizeof(length));
  return (length > 0 && length <= bytes.size() - sizeof(length) && bytes[sizeof(length)] == '{') ||
         (path.ends_with(".safetensors") && !LooksLikePt(bytes));
}

// A tensor over bytes that `owner` keeps.
absl::StatusOr<torch::Tensor> MakeTensor(const StoredTensor& stored,
                                         const std::shared_ptr<const void>& owner) {
  const auto type = SafetensorsDtype(stored.dtype);
  if (!type.has_value()) {
    return absl::InvalidArgumentError("unsupported type " + std::string(stored.dtype));
  }
  if (stored.bytes.empty()) return torch::empty(stored.shape, *type);
  const size_t element_size = torch::elementSize(*type);
  if (*type == torch::kBool && std::any_of(stored.bytes.begin(), stored.bytes.end(),
                                           [](char c) { return static_cast<uint8_t>(c) > 1; })) {
    return absl::InvalidArgumentError("has a BOOL that is not 0 or 1");
  }
  if (reinterpret_cast<uintptr_t>(stored.bytes.data()) % element_size != 0) {
    // The elements between the strides come along.
    const int64_t count = static_cast<int64_t>(stored.bytes.size() / element_size);
    const torch::Tensor copy = torch::empty({count}, *type);
    std::memcpy(copy.data_ptr(), stored.bytes.data(), stored.bytes.size());
    return copy.as_strided(stored.shape, stored.strides);
  }
  // Its memory is private to the process, see MappedFile::data.
  return torch::from_blob(
      const_cast<char*>(stored.bytes.data()), stored.shape, stored.strides, [owner](void*) {},
      torch::TensorOptions().dtype(*type));
}

absl::Status ReadFileInto(const std::string& path, Checkpoint* checkpoint) {
  checkpoint->files.push_back(path);
  const auto mapped = MappedFile::Open(path);
  if (!mapped.ok()) return mapped.status();
  const std::string_view bytes = (*mapped)->bytes();
  if (LooksLikeSafetensors(bytes, path)) {
    auto file = MapSafetensors(*mapped);
    if (!file.ok()) return In(path, file.status());
    checkpoint->tensors.merge(file->tensors);
    checkpoint->metadata.merge(file->metadata);
    return absl::OkStatus();
  }
  const auto file = ParsePt(bytes);
  if (!file.ok()) return In(path, file.status());
  const auto owner =
      std::make_shared<std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>>(
          *mapped, file->unpacked);
  try {
    for (const auto& [name, stored] : file->tensors) {
      auto tensor = MakeTensor(stored, owner);
      if (!tensor.ok()) return In(absl::StrCat(path, ": ", name), tensor.status());
      checkpoint->tensors.emplace(name, *std::move(tensor));
    }
  } catch (const std::exception& error) {  // c10::Error, std::bad_alloc
    return absl::ResourceExhaustedError(absl::StrCat(path, ": making tensors: ", error.what()));
  }
  checkpoint->others = file->others;
  return absl::OkStatus();
}

// A file of JSON text. `what` begins the message.
absl::StatusOr<std::string> ReadText(const std::string& path) {
  const auto mapped = MappedFile::Open(path);
  if (!mapped.ok()) return mapped.status();
  if ((*mapped)->bytes().size() > kMaxJson) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": too large for JSON"));
  }
  return std::string((*mapped)->bytes());
}

absl::StatusOr<Checkpoint> ReadIndexed(const std::string& path) {
  const auto text = ReadText(path);
  if (!text.ok()) return text.status();
  const auto index = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const auto invalid = [&path](const std::string& problem) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", problem));
  };
  if (!index.is_object() || !index.contains("weight_map") || !index.at("weight_map").is_object()) {
    return invalid("no index: it lacks the object weight_map");
  }
  std::map<std::string, std::set<std::string>> names_by_file;
  for (const auto& [name, file] : index.at("weight_map").items()) {
    if (!file.is_string()) return invalid(absl::StrCat("the file of ", name, " is not a text"));
    const std::string plain = file.get<std::string>();
    if (plain.empty() || plain.front() == '.' || plain.find('/') != std::string::npos ||
        plain.find('\0') != std::string::npos) {
      return invalid(absl::StrCat("\"", plain, "\" is not the name of a file beside it"));
    }
    names_by_file[plain].insert(name);
  }
  if (names_by_file.empty()) return invalid("lists no tensors");

  Checkpoint checkpoint;
  std::vector<std::string> problems;
  const auto add = [&problems](std::string problem) {
    if (problems.size() < kMaxProblems) problems.push_back(std::move(problem));
  };
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (const auto& [file, names] : names_by_file) {
    Checkpoint shard;
    if (auto status = ReadFileInto((folder / file).string(), &shard); !status.ok()) {
      add(std::string(status.message()));
      continue;
    }
    for (const std::string& name : names) {
      if (!shard.tensors.contains(name)) add(absl::StrCat(file, " lacks ", name));
    }
    for (const auto& [name, tensor] : shard.tensors) {
      if (!names.contains(name))
        add(absl::StrCat(file, " has ", name, ", which is not in the index"));
    }
    checkpoint.tensors.merge(shard.tensors);
    checkpoint.metadata.merge(shard.metadata);
    checkpoint.files.push_back((folder / file).string());
  }
  if (!problems.empty()) {
    return invalid(absl::StrCat("the files do not fit the index (", problems.size(), "):\n  ",
                                absl::StrJoin(problems, "\n  ")));
  }
  return checkpoint;
}

bool AllBeginWith(const std::map<std::string, torch::Tensor>& tensors, std::string_view prefix) {
  return std::all_of(tensors.begin(), tensors.end(),
                     [&](const auto& item) { return item.first.starts_with(prefix); });
}

// The weights of a folder as diffusers and transformers save it; "": none.
std::string FindWeights(const std::filesystem::path& folder) {
  std::error_code error;
  for (const char* name :
       {"model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json",
        "pytorch_model.bin.index.json", "diffusion_pytorch_model.bin.index.json",
        "model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin",
        "diffusion_pytorch_model.bin"}) {
    if (std::filesystem::is_regular_file(folder / name, error)) return (folder / name).string();
  }
  return "";
}

}  // namespace

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    const std::string weights = FindWeights(path);
    if (weights.empty()) {
      return absl::NotFoundError(absl::StrCat(
          path,
          ": no weights in this folder: neither model.safetensors nor pytorch_model.bin, nor "
          "these with diffusion_ or an index"));
    }
    auto checkpoint = ReadCheckpoint(weights);
    const std::string config = (std::filesystem::path(path) / "config.json").string();
    if (checkpoint.ok() && std::filesystem::is_regular_file(config, error)) {
      auto text = ReadText(config);
      if (!text.ok()) return text.status();
      checkpoint->config = *std::move(text);
    }
    return checkpoint;
  }
  if (path.ends_with(".json")) return ReadIndexed(path);
  Checkpoint checkpoint;
  if (auto status = ReadFileInto(path, &checkpoint); !status.ok()) return status;
  return checkpoint;
}

absl::StatusOr<std::map<std::string, torch::Tensor>> WeightsOf(const Checkpoint& checkpoint,
                                                               const std::string& part) {
  std::map<std::string, torch::Tensor> weights;
  if (!part.empty()) {
    weights = WithoutPrefix(checkpoint.tensors, part + ".");
    if (weights.empty()) {
      std::set<std::string> parts;
      for (const auto& [name, tensor] : checkpoint.tensors) {
        parts.insert(name.substr(0, name.find('.')));
      }
      const std::string listed = parts.size() <= 12 ? absl::StrJoin(parts, ", ") : "no such parts";
      return absl::NotFoundError(absl::StrCat(absl::StrJoin(checkpoint.files, ", "),
                                              ": there is no part \"", part,
                                              "\"; it has: ", listed));
    }
  } else {
    for (const char* prefix : {"ema.", "state_dict."}) {
      weights = WithoutPrefix(checkpoint.tensors, prefix);
      if (!weights.empty()) break;
    }
    if (weights.empty()) weights = checkpoint.tensors;
    // A full latent-diffusion checkpoint has a "model." of its own, beside other parts.
    if (AllBeginWith(weights, "model.")) weights = WithoutPrefix(weights, "model.");
  }
  return AllBeginWith(weights, "module.") ? WithoutPrefix(weights, "module.") : weights;
}

}  // namespace reenact
