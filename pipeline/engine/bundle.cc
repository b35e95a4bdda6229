#include "pipeline/engine/bundle.h"

#include <cmath>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/engine/sha256.h"
#include "pipeline/models/config_json.h"
#include "pipeline/models/layers.h"
#include "pipeline/weights/load.h"
#include "pipeline/weights/mapped_file.h"
#include "pipeline/weights/safetensors.h"

namespace reenact {
namespace {

using nlohmann::json;
using Problems = std::vector<std::string>;

constexpr char kConfigFile[] = "bundle.json";
constexpr char kSDiTFile[] = "sdit.safetensors";
constexpr char kAutoencoderFile[] = "autoencoder.safetensors";
constexpr char kClipFile[] = "clip.safetensors";
constexpr char kMergesFile[] = "merges.txt";
constexpr char kLandmarkConvention[] = "mediapipe-478";

// What the paper leaves open and this program decides, in words, so that a bundle made for another
// reading is refused instead of misread. Where a choice can vary it has a field of its own: sampler
// and steps (`defaults`), width of the mapping network (`sdit`), guidance and noise.
//
// The paper's other open points are no bundle's. How a network was trained (initialisation:
// InitializeWeights of sdit.h; weights of the loss; weight decay) is the trainer's, which notes its
// flags in `training`. Missing faces (NoFacePolicy), where the anchor is and how frames are shared
// out (SequencePlan; row_plan.h, which also shows the anchor once) are each request's.
struct Choice {
  const char *key, *value;
};
constexpr Choice kChoices[] = {
    {"attention", "joint"},               // of all tokens of a row, no mask
    {"temporal_position", "slot"},        // index 0..T-1, added once beside the spatial table
    {"condition", "timestep + mapping"},  // one vector per frame, through adaLN
    {"mapping", "residual, erf-gelu, 4x wide"},  // sdit.mapping_blocks blocks
    {"identity", "clip projected, unit length"},
    {"edit", "lerp, unit length"},  // of picture and text, by SourceRequest::edit_strength
    {"edit_direction", "image + strength * (to - from), unit length"},
    {"landmarks", "2x-1, 2y-1, 2z in the crop"},
    {"crop", "square, face height 0.53"},
    {"timestep", "one per row"},
    {"anchor_slot", "T / 2 rounded down"},
};

// A choice of two, the first by default.
struct Alternative {
  const char *key, *first, *second;
};
constexpr Alternative kGuidance = {"guidance", "without identity, all channels",
                                   "without identity, three channels"};
constexpr int64_t kDitGuidedChannels = 3;
constexpr Alternative kNoise = {"noise", "per frame", "shared by all frames"};
constexpr Alternative kSteps = {"steps", "first to last", "trailing"};

// The bytes and the two markers of CLIP's vocabulary that are not merges: 256 bytes, each inside a
// word and at its end, start and end of text.
constexpr int64_t kTokensBesideMerges = 2 * 256 + 2;

absl::Status AllProblems(absl::string_view what, const Problems& problems) {
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, ": ", problems.size(), problems.size() == 1 ? " problem\n  " : " problems\n  ",
      absl::StrJoin(problems, "\n  ")));
}

void AddStatus(absl::string_view where, const absl::Status& status, Problems& problems) {
  if (!status.ok()) problems.push_back(absl::StrCat(where, ": ", status.message()));
}

// Reads the fields of one JSON object and remembers everything that is wrong with them. A field
// that is wrong leaves its target as it was.
class ObjectReader {
 public:
  ObjectReader(const json& object, std::string path, Problems& problems)
      : object_(object), path_(std::move(path)), problems_(problems) {
    if (!object_.is_object()) Add("", absl::StrCat("must be an object, is ", object_.type_name()));
  }

  void Read(const char* key, std::string* value) {
    if (const json* field = Find(key, true); field != nullptr) {
      if (field->is_string()) {
        *value = field->get<std::string>();
      } else {
        WrongType(key, "a string", *field);
      }
    }
  }
  void Read(const char* key, int64_t* value) {
    if (const json* field = Find(key, true); field != nullptr) {
      if (!field->is_number_integer() ||
          (field->is_number_unsigned() &&
           field->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()})) {
        WrongType(key, "an integer", *field);
      } else {
        *value = field->get<int64_t>();
      }
    }
  }
  void Read(const char* key, int* value) {
    int64_t wide = *value;
    Read(key, &wide);
    if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max()) {
      Add(key, "is out of range");
    } else {
      *value = static_cast<int>(wide);
    }
  }
  void Read(const char* key, double* value) {
    if (const json* field = Find(key, true); field != nullptr) {
      if (field->is_number()) {
        *value = field->get<double>();
      } else {
        WrongType(key, "a number", *field);
      }
    }
  }
  void ReadOptional(const char* key, bool* value) {
    if (const json* field = Find(key, false); field != nullptr) {
      if (field->is_boolean()) {
        *value = field->get<bool>();
      } else {
        WrongType(key, "true or false", *field);
      }
    }
  }
  // The field itself; null and a problem if it is absent or no object.
  const json* Object(const char* key) {
    const json* field = Find(key, true);
    if (field != nullptr && !field->is_object()) {
      WrongType(key, "an object", *field);
      return nullptr;
    }
    return field;
  }

  // To be called last: whatever was not read is unknown.
  void RejectOthers() {
    if (!object_.is_object()) return;
    for (const auto& [key, value] : object_.items()) {
      if (!known_.contains(key)) Add(key, "is unknown");
    }
  }

  void Add(absl::string_view key, absl::string_view problem) {
    problems_.push_back(absl::StrCat(path_, path_ == kConfigFile || key.empty() ? "" : ".",
                                     path_ == kConfigFile && !key.empty() ? ": " : "", key, " ",
                                     problem));
  }

 private:
  const json* Find(const char* key, bool required) {
    known_.insert(key);
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(key);
    if (it == object_.end()) {
      if (required) Add(key, "is missing");
      return nullptr;
    }
    return &*it;
  }
  void WrongType(const char* key, absl::string_view wanted, const json& field) {
    Add(key, absl::StrCat("must be ", wanted, ", is ", field.dump().substr(0, 40)));
  }

  const json& object_;
  const std::string path_;
  Problems& problems_;
  std::set<std::string> known_;
};

bool IsPlainFileName(absl::string_view name) {
  if (name.empty() || name.front() == '.') return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') {
      return false;
    }
  }
  return true;
}

void RequireEqual(absl::string_view a_name, int64_t a, absl::string_view b_name, int64_t b,
                  Problems& problems) {
  if (a != b) {
    problems.push_back(absl::StrCat(a_name, " is ", a, " but ", b_name, " is ", b));
  }
}

// What no single field can say. Sub-configurations that failed to parse are zero and left out.
void CheckConsistency(const BundleConfig& c, bool has_sdit, bool has_autoencoder, bool has_clip,
                      Problems& problems) {
  if (!IsPlainFileName(c.name)) {
    problems.push_back("name must be letters, digits, '.', '_' and '-', not beginning with '.'");
  }
  for (const std::string& file : {c.landmark_model, c.landmark_detector}) {
    if (!IsPlainFileName(file)) {
      problems.push_back(absl::StrCat("landmarks: \"", file, "\" is not a plain file name"));
    }
  }
  if (c.num_train_steps < 2 || c.num_train_steps > 1'000'000) {
    problems.push_back("schedule.num_train_steps must be 2..1000000");
  } else if (auto schedule = Schedule::Create(c.schedule, c.num_train_steps, ""); !schedule.ok()) {
    AddStatus("schedule", schedule.status(), problems);
  } else if (schedule->zero_terminal_snr() && c.prediction == Prediction::kEpsilon) {
    problems.push_back(absl::StrCat("schedule \"", c.schedule,
                                    "\" needs prediction \"v\" or \"x0\": where it begins, the ",
                                    "noise says nothing about the picture"));
  }
  if (c.max_num_steps < 2 || c.max_num_steps > c.num_train_steps) {
    problems.push_back("max_num_steps must be 2..schedule.num_train_steps");
  }
  if (c.default_num_steps < 2 || c.default_num_steps > c.max_num_steps) {
    problems.push_back("defaults.num_steps must be 2..max_num_steps");
  }
  if (!(c.default_guidance_scale >= 1 && c.default_guidance_scale <= 100)) {
    problems.push_back("defaults.guidance_scale must be 1..100");
  }
  if (c.guided_channels != 0 && c.guided_channels != kDitGuidedChannels) {
    problems.push_back(absl::StrCat("guided_channels must be 0 or ", kDitGuidedChannels));
  }
  if (c.image_size < 1 || c.frames_per_row < 1) {
    problems.push_back("image_size and frames_per_row must be positive");
  }
  if (has_sdit) {
    RequireEqual("frames_per_row", c.frames_per_row, "sdit.num_frames", c.sdit.num_frames,
                 problems);
    RequireEqual("sdit.num_landmarks", c.sdit.num_landmarks, "the landmark convention's", 478,
                 problems);
  }
  if (has_autoencoder) {
    RequireEqual("autoencoder.in_channels", c.autoencoder.in_channels, "the number of colours", 3,
                 problems);
  }
  if (has_sdit && has_autoencoder) {
    RequireEqual("image_size", c.image_size, "sdit.latent_size times the autoencoder's downscale",
                 c.sdit.latent_size * c.autoencoder.downscale(), problems);
    RequireEqual("sdit.latent_channels", c.sdit.latent_channels, "autoencoder.latent_channels",
                 c.autoencoder.latent_channels, problems);
  }
  if (has_sdit && has_clip) {
    RequireEqual("sdit.clip_dim", c.sdit.clip_dim, "clip.projection_dim", c.clip.projection_dim,
                 problems);
  }
}

// What a text of bundle.json says, whether or not all of it is right.
struct ParsedConfig {
  BundleConfig config;
  std::string merges_file;
  std::map<std::string, std::string> files;
  bool has_sdit = false, has_autoencoder = false, has_clip = false;
};

ParsedConfig ParseConfig(const std::string& text, Problems& problems) {
  ParsedConfig parsed;
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    problems.push_back("bundle.json is not JSON");
    return parsed;
  }
  BundleConfig& config = parsed.config;
  ObjectReader reader(root, kConfigFile, problems);
  int version = kBundleFormatVersion;
  reader.Read("format_version", &version);
  if (version != kBundleFormatVersion) {
    // Another version's fields mean something else: nothing more can be said.
    reader.Add("format_version",
               absl::StrCat("is ", version, ", this program reads ", kBundleFormatVersion));
    return parsed;
  }
  reader.Read("name", &config.name);
  reader.Read("licence", &config.licence);
  reader.Read("image_size", &config.image_size);
  reader.Read("frames_per_row", &config.frames_per_row);
  reader.Read("max_num_steps", &config.max_num_steps);
  reader.ReadOptional("accepts_text", &config.accepts_text);

  std::string prediction = PredictionName(config.prediction);
  reader.Read("prediction", &prediction);
  if (auto value = PredictionFromName(prediction); value.ok()) {
    config.prediction = *value;
  } else {
    AddStatus("bundle.json: prediction", value.status(), problems);
  }
  if (const json* object = reader.Object("schedule"); object != nullptr) {
    ObjectReader schedule(*object, "schedule", problems);
    schedule.Read("name", &config.schedule);
    schedule.Read("num_train_steps", &config.num_train_steps);
    schedule.RejectOthers();
  }
  if (const json* object = reader.Object("defaults"); object != nullptr) {
    ObjectReader defaults(*object, "defaults", problems);
    std::string name = "ddim";
    defaults.Read("sampler", &name);
    if (const auto sampler = SamplerFromName(name); sampler.ok()) {
      config.default_sampler = *sampler;
    } else {
      defaults.Add("sampler", std::string(sampler.status().message()));
    }
    defaults.Read("num_steps", &config.default_num_steps);
    defaults.Read("guidance_scale", &config.default_guidance_scale);
    defaults.RejectOthers();
  }
  if (const json* object = reader.Object("sdit"); object != nullptr) {
    auto value = SDiTConfigFromJson(*object);
    parsed.has_sdit = value.ok();
    if (value.ok()) config.sdit = *std::move(value);
    AddStatus("sdit", value.status(), problems);
  }
  if (const json* object = reader.Object("autoencoder"); object != nullptr) {
    auto value = AutoencoderKLConfigFromJson(*object);
    parsed.has_autoencoder = value.ok();
    if (value.ok()) config.autoencoder = *std::move(value);
    AddStatus("autoencoder", value.status(), problems);
  }
  if (const json* object = reader.Object("clip"); object != nullptr) {
    json networks = *object;
    ObjectReader clip(*object, "clip", problems);
    clip.Read("merges", &parsed.merges_file);
    networks.erase("merges");
    auto value = ClipConfigFromJson(networks);
    parsed.has_clip = value.ok();
    if (value.ok()) config.clip = *std::move(value);
    AddStatus("clip", value.status(), problems);
  }
  if (const json* object = reader.Object("landmarks"); object != nullptr) {
    ObjectReader landmarks(*object, "landmarks", problems);
    landmarks.Read("model", &config.landmark_model);
    landmarks.Read("detector", &config.landmark_detector);
    std::string convention = kLandmarkConvention;
    landmarks.Read("convention", &convention);
    if (convention != kLandmarkConvention) {
      landmarks.Add("convention", absl::StrCat("must be ", kLandmarkConvention));
    }
    landmarks.RejectOthers();
  }
  if (root.is_object() && root.contains("choices")) {
    if (const json* object = reader.Object("choices"); object != nullptr) {
      ObjectReader choices(*object, "choices", problems);
      for (const Choice& choice : kChoices) {
        if (!object->is_object() || !object->contains(choice.key)) continue;
        std::string value;
        choices.Read(choice.key, &value);
        if (value != choice.value) {
          choices.Add(choice.key, absl::StrCat("must be \"", choice.value, "\""));
        }
      }
      const auto is_second = [&](const Alternative& choice) {
        if (!object->is_object() || !object->contains(choice.key)) return false;
        std::string value;
        choices.Read(choice.key, &value);
        if (value != choice.first && value != choice.second) {
          choices.Add(choice.key,
                      absl::StrCat("must be \"", choice.first, "\" or \"", choice.second, "\""));
        }
        return value == choice.second;
      };
      if (is_second(kGuidance)) config.guided_channels = kDitGuidedChannels;
      config.shared_noise = is_second(kNoise);
      config.trailing_steps = is_second(kSteps);
      choices.RejectOthers();
    }
  }
  if (const json* object = reader.Object("training"); object != nullptr) config.training = *object;
  if (const json* object = reader.Object("files"); object != nullptr) {
    ObjectReader files(*object, "files", problems);
    for (const auto& [name, hash] : object->items()) {
      if (!IsPlainFileName(name)) {
        files.Add(name, "is not a plain file name");
        continue;
      }
      files.Read(name.c_str(), &parsed.files[name]);
    }
  }
  reader.RejectOthers();
  CheckConsistency(config, parsed.has_sdit, parsed.has_autoencoder, parsed.has_clip, problems);
  return parsed;
}

std::optional<std::string> ReadIfThere(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  if (!in) return std::nullopt;
  return std::move(content).str();
}

// The named file, mapped, if it is there and has the stated hash.
std::shared_ptr<const MappedFile> MapChecked(const std::string& folder, const ParsedConfig& parsed,
                                             const std::string& name, Problems& problems) {
  const auto listed = parsed.files.find(name);
  if (listed == parsed.files.end()) {
    problems.push_back(absl::StrCat(name, " is missing from \"files\""));
    return nullptr;
  }
  auto file = MappedFile::Open((std::filesystem::path(folder) / name).string(),
                               MappedFile::Access::kReadOnly);
  if (!file.ok()) {
    problems.push_back(absl::StrCat(name, " is not there or not readable"));
    return nullptr;
  }
  if (const std::string hash = Sha256Hex((*file)->bytes()); hash != listed->second) {
    problems.push_back(
        absl::StrCat(name, " has the wrong SHA-256: ", hash, ", expected ", listed->second));
    return nullptr;
  }
  (*file)->Release();
  return *std::move(file);
}

// Makes the network of the file's tensors: its memory is the file's, where that is float32.
template <typename Network, typename Config>
void LoadNetwork(const std::string& folder, const ParsedConfig& parsed, const std::string& name,
                 const Config& config, bool config_ok, Bundle* bundle, Network* network,
                 Problems& problems) {
  const auto mapped = MapChecked(folder, parsed, name, problems);
  if (mapped == nullptr) return;
  auto file = MapSafetensors(mapped);
  if (!file.ok()) {
    AddStatus(name, file.status(), problems);
    return;
  }
  if (!config_ok) return;
  try {
    Network made = [&] {
      const ScopedUndefinedLayers undefined;
      return Network(config);
    }();
    AddStatus(name, ShareWeights(*made, file->tensors), problems);
    made->eval();
    for (torch::Tensor& parameter : made->parameters()) parameter.set_requires_grad(false);
    *network = made;
    mapped->Release();
    bundle->mapped.push_back(mapped);
  } catch (const std::exception& error) {  // c10::Error, std::bad_alloc
    problems.push_back(
        absl::StrCat(name, ": cannot build the network: ",
                     std::vector<std::string>(absl::StrSplit(error.what(), '\n'))[0]));
  }
}

absl::Status WriteAtomically(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::path temporary = path;
  temporary += ".part";
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out << content;
    out.close();
    if (!out) return absl::UnavailableError(absl::StrCat("cannot write ", temporary.string()));
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot rename to ", path.string(), ": ", error.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, torch::Tensor>> ForDisk(
    const std::map<std::string, torch::Tensor>& tensors, bool half) {
  std::map<std::string, torch::Tensor> stored;
  for (const auto& [name, tensor] : tensors) {
    torch::Tensor value = tensor.detach().to(torch::kCPU);
    if (value.is_floating_point()) {
      const bool is_table = absl::EndsWith(name, "pos_embed");
      value = value.to(half && value.dim() >= 2 && !is_table ? torch::kHalf : torch::kFloat);
      if (!torch::isfinite(value).all().item<bool>()) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, " holds values that are not finite as stored"));
      }
    }
    stored[name] = value.contiguous();
  }
  return stored;
}

json ConfigToJson(const BundleConfig& config, const std::map<std::string, std::string>& files) {
  json clip = ToJson(config.clip);
  clip["merges"] = kMergesFile;
  json choices = json::object();
  for (const Choice& choice : kChoices) choices[choice.key] = choice.value;
  choices[kGuidance.key] = config.guided_channels > 0 ? kGuidance.second : kGuidance.first;
  choices[kNoise.key] = config.shared_noise ? kNoise.second : kNoise.first;
  choices[kSteps.key] = config.trailing_steps ? kSteps.second : kSteps.first;
  return {{"format_version", kBundleFormatVersion},
          {"name", config.name},
          {"licence", config.licence},
          {"image_size", config.image_size},
          {"frames_per_row", config.frames_per_row},
          {"prediction", PredictionName(config.prediction)},
          {"schedule", {{"name", config.schedule}, {"num_train_steps", config.num_train_steps}}},
          {"defaults",
           {{"sampler", SamplerName(config.default_sampler)},
            {"num_steps", config.default_num_steps},
            {"guidance_scale", config.default_guidance_scale}}},
          {"max_num_steps", config.max_num_steps},
          {"accepts_text", config.accepts_text},
          {"sdit", ToJson(config.sdit)},
          {"autoencoder", ToJson(config.autoencoder)},
          {"clip", clip},
          {"landmarks",
           {{"model", config.landmark_model},
            {"detector", config.landmark_detector},
            {"convention", kLandmarkConvention}}},
          {"choices", choices},
          {"training", config.training},
          {"files", files}};
}

}  // namespace

void Bundle::ReleasePages() const {
  for (const auto& file : mapped) file->Release();
}

absl::StatusOr<Bundle> ReadBundle(const std::string& folder) {
  const auto text = ReadIfThere(std::filesystem::path(folder) / kConfigFile);
  if (!text.has_value()) {
    return absl::NotFoundError(absl::StrCat("no bundle.json in ", folder));
  }
  Problems problems;
  ParsedConfig parsed = ParseConfig(*text, problems);
  const std::string what = absl::StrCat("bundle ", folder);
  // Without a list of files (not JSON, another version) everything else would only be noise.
  if (parsed.files.empty() && !problems.empty()) return AllProblems(what, problems);

  Bundle bundle;
  LoadNetwork(folder, parsed, kSDiTFile, parsed.config.sdit, parsed.has_sdit, &bundle, &bundle.sdit,
              problems);
  LoadNetwork(folder, parsed, kAutoencoderFile, parsed.config.autoencoder, parsed.has_autoencoder,
              &bundle, &bundle.autoencoder, problems);
  LoadNetwork(folder, parsed, kClipFile, parsed.config.clip, parsed.has_clip, &bundle, &bundle.clip,
              problems);
  if (!parsed.merges_file.empty()) {
    const auto merges = MapChecked(folder, parsed, parsed.merges_file, problems);
    const ClipConfig::Text& tower = parsed.config.clip.text;
    if (merges != nullptr && parsed.has_clip) {
      const int64_t num_merges = tower.vocab_size - kTokensBesideMerges;
      auto tokenizer = ClipTokenizer::FromMerges(
          merges->bytes(), static_cast<size_t>(std::max<int64_t>(0, num_merges)));
      if (!tokenizer.ok()) {
        AddStatus(parsed.merges_file, tokenizer.status(), problems);
      } else {
        RequireEqual("clip.text.vocab_size", tower.vocab_size, "the tokenizer's",
                     tokenizer->vocab_size(), problems);
        RequireEqual("clip.text.bos_token_id", tower.bos_token_id, "the tokenizer's",
                     tokenizer->start_id(), problems);
        RequireEqual("clip.text.eos_token_id", tower.eos_token_id, "the tokenizer's",
                     tokenizer->end_id(), problems);
        if (tower.max_position_embeddings < static_cast<int64_t>(ClipTokenizer::kLength)) {
          problems.push_back(absl::StrCat("clip.text.max_position_embeddings must be at least ",
                                          ClipTokenizer::kLength));
        }
        bundle.tokenizer = std::make_shared<const ClipTokenizer>(*std::move(tokenizer));
      }
    }
  }
  const std::set<std::string> checked = {kSDiTFile, kAutoencoderFile, kClipFile,
                                         parsed.merges_file};
  for (const auto& [name, hash] : parsed.files) {
    if (checked.contains(name)) continue;
    if (name == parsed.config.landmark_model || name == parsed.config.landmark_detector) {
      (void)MapChecked(folder, parsed, name, problems);
    } else {
      problems.push_back(absl::StrCat(name, " in \"files\" is not part of a bundle"));
    }
  }
  if (!problems.empty()) return AllProblems(what, problems);

  bundle.config = std::move(parsed.config);
  bundle.sha256 = Sha256Hex(*text);
  bundle.folder = folder;
  bundle.files = std::move(parsed.files);
  return bundle;
}

absl::Status WriteBundle(const std::string& folder, const BundleConfig& config,
                         const BundleTensors& tensors) {
  Problems problems;
  AddStatus("sdit", Validate(config.sdit), problems);
  AddStatus("autoencoder", Validate(config.autoencoder), problems);
  AddStatus("clip", Validate(config.clip), problems);
  CheckConsistency(config, true, true, true, problems);
  if (!config.training.is_object()) problems.push_back("training must be a JSON object");
  if (!problems.empty()) return AllProblems(absl::StrCat("bundle ", folder), problems);

  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot make ", folder, ": ", error.message()));
  }
  const std::filesystem::path root(folder);
  std::map<std::string, std::string> files;
  try {
    for (const auto& [name, network] :
         std::initializer_list<std::pair<const char*, const std::map<std::string, torch::Tensor>*>>{
             {kSDiTFile, &tensors.sdit},
             {kAutoencoderFile, &tensors.autoencoder},
             {kClipFile, &tensors.clip}}) {
      auto stored = ForDisk(*network, tensors.half);
      if (!stored.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": ", stored.status().message()));
      }
      if (auto status = WriteSafetensors((root / name).string(), *stored, {}); !status.ok()) {
        return status;
      }
      files[name];
    }
  } catch (const c10::Error& e) {
    return absl::InternalError(absl::StrCat("preparing tensors: ", e.what_without_backtrace()));
  }
  if (auto status = WriteAtomically(root / kMergesFile, tensors.merges); !status.ok()) {
    return status;
  }
  files[kMergesFile];
  for (const std::string& name : {config.landmark_model, config.landmark_detector}) {
    if (std::filesystem::exists(root / name, error)) files[name];
  }
  for (auto& [name, hash] : files) {
    const auto written = MappedFile::Open((root / name).string(), MappedFile::Access::kReadOnly);
    if (!written.ok()) return written.status();
    hash = Sha256Hex((*written)->bytes());
  }
  if (auto status = WriteAtomically(root / kConfigFile, BundleConfigToJson(config, files));
      !status.ok()) {
    return status;
  }
  return ReadBundle(folder).status();
}

std::string BundleConfigToJson(const BundleConfig& config,
                               const std::map<std::string, std::string>& files) {
  return ConfigToJson(config, files).dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<BundleConfig> BundleConfigFromJson(const std::string& text,
                                                  std::map<std::string, std::string>* files) {
  Problems problems;
  ParsedConfig parsed = ParseConfig(text, problems);
  if (!problems.empty()) return AllProblems(kConfigFile, problems);
  if (files != nullptr) *files = std::move(parsed.files);
  return std::move(parsed.config);
}

}  // namespace reenact
