#include "pipeline/reenactor/face_models.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reenact {
namespace {

constexpr char kDefaultFolder[] = ".deps/mediapipe";

std::optional<std::string> ReadIfThere(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream content;
  content << in.rdbuf();
  if (!in) return std::nullopt;
  return std::move(content).str();
}

}  // namespace

std::string FaceModelsFolder(const std::string& folder) {
  if (!folder.empty()) return folder;
  if (const char* value = std::getenv("REENACT_FACE_MODELS"); value != nullptr && *value != '\0') {
    return value;
  }
  std::error_code error;
  if (std::filesystem::is_directory(kDefaultFolder, error)) return kDefaultFolder;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto beside = program.parent_path() / "../../.." / kDefaultFolder;
    if (std::filesystem::is_directory(beside, error)) return beside.lexically_normal().string();
  }
  return kDefaultFolder;
}

absl::StatusOr<FaceModels> ReadFaceModels(const std::string& folder,
                                          const std::string& bundle_folder,
                                          const FaceModelNames& names) {
  std::vector<std::string> missing;
  const auto find = [&](const std::string& name) -> std::string {
    for (const std::string& place : {bundle_folder, folder}) {
      if (place.empty()) continue;
      auto content = ReadIfThere(std::filesystem::path(place) / name);
      if (content.has_value()) return *std::move(content);
    }
    return "";
  };
  const auto read = [&](const std::string& name) {
    std::string content = find(name);
    if (content.empty()) missing.push_back(name);
    return content;
  };
  FaceModels models;
  models.detector = read(names.detector);
  models.landmark_model = read(names.landmark_model);
  for (const std::string& name : names.blendshapes) {
    if (models.blendshapes.empty()) models.blendshapes = find(name);
  }
  if (!missing.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "face model ", absl::StrJoin(missing, ", "), " not found in ", folder,
        bundle_folder.empty() ? "" : absl::StrCat(" or ", bundle_folder),
        "; scripts/setup.sh fetches it, --face-models or REENACT_FACE_MODELS names the folder"));
  }
  return models;
}

}  // namespace reenact
