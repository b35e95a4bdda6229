#include "pipeline/reenactor/bundle_maker.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pipeline/engine/random_bundle.h"
#include "pipeline/engine/sha256.h"
#include "pipeline/models/checkpoint_names.h"
#include "pipeline/models/clip_tokenizer.h"
#include "pipeline/weights/checkpoint_file.h"
#include "pipeline/weights/load.h"
#include "pipeline/weights/mapped_file.h"
#include "pipeline/weights/safetensors.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr char kSDiTFile[] = "sdit.safetensors";
constexpr char kAutoencoderFile[] = "autoencoder.safetensors";
constexpr char kClipFile[] = "clip.safetensors";
constexpr char kMergesFile[] = "merges.txt";
// The bytes, inside a word and at its end, and the two markers are no merges.
constexpr int64_t kTokensBesideMerges = 2 * 256 + 2;
constexpr size_t kMaxMergesBytes = size_t{32} << 20;
constexpr double kPositionTolerance = 1e-6;
constexpr double kSmall = 0.02;

absl::Status In(absl::string_view what, const absl::Status& status) {
  return status.ok() ? status
                     : absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
}

torch::ScalarType StoredDtype(const std::string& name, size_t num_dims, bool half) {
  return half && num_dims >= 2 && !name.ends_with("pos_embed") ? torch::kHalf : torch::kFloat;
}

absl::Status StreamNetwork(const std::string& path, const TensorSource& source, bool half) {
  std::map<std::string, TensorSpec> specs;
  for (const auto& [name, shape] : source.shapes) {
    specs[name] = {.dtype = StoredDtype(name, shape.size(), half), .shape = shape};
  }
  auto writer = SafetensorsWriter::Create(path, specs, {});
  if (!writer.ok()) return writer.status();
  for (const auto& [name, spec] : specs) {
    const Tensor stored = source.tensor(name).detach().to(spec.dtype);
    if (!AllFinite(stored)) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": ", name, " holds values that are not finite as ", c10::toString(spec.dtype)));
    }
    if (auto status = (*writer)->Write(name, stored); !status.ok()) return status;
  }
  return (*writer)->Finish();
}

absl::Status WriteAtomically(const fs::path& path, const std::string& content) {
  fs::path temporary = path;
  temporary += ".part";
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out << content;
    out.close();
    if (!out) return absl::UnavailableError(absl::StrCat("cannot write ", temporary.string()));
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot rename to ", path.string(), ": ", error.message()));
}

// --- From checkpoints ---

// The text of a .gz file.
absl::StatusOr<std::string> Gunzip(std::string_view packed) {
  std::string text(std::min(kMaxMergesBytes, packed.size() * 16 + 1024), '\0');
  z_stream stream = {};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
    return absl::InternalError("zlib did not start");
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  const int result = inflate(&stream, Z_FINISH);
  text.resize(stream.total_out);
  inflateEnd(&stream);
  if (result != Z_STREAM_END) return absl::InvalidArgumentError("damaged gzip file, or too large");
  return text;
}

// The vocabulary's merges, the first line and no more than `num_merges`: OpenAI's file has others
// behind them.
absl::StatusOr<std::string> ReadMerges(const std::string& path, int64_t num_merges) {
  const auto mapped = MappedFile::Open(path);
  if (!mapped.ok()) return mapped.status();
  if ((*mapped)->bytes().size() > kMaxMergesBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": too large for a list of merges"));
  }
  std::string text((*mapped)->bytes());
  if (text.starts_with("\x1F\x8B")) {
    auto unpacked = Gunzip(text);
    if (!unpacked.ok()) return In(path, unpacked.status());
    text = *std::move(unpacked);
  }
  if (text.starts_with("{")) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": JSON; the tokenizer's merges.txt is wanted"));
  }
  const std::string first = text.substr(0, text.find('\n'));
  int64_t lines = num_merges + (first.find("#version") != std::string::npos ? 1 : 0);
  size_t end = 0;
  while (lines > 0 && end < text.size()) {
    end = std::min(text.find('\n', end), text.size() - 1) + 1;
    --lines;
  }
  text.resize(end);
  const auto tokenizer = ClipTokenizer::FromMerges(text, static_cast<size_t>(num_merges));
  if (!tokenizer.ok()) return In(path, tokenizer.status());
  if (tokenizer->vocab_size() != num_merges + kTokensBesideMerges) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", tokenizer->vocab_size() - kTokensBesideMerges,
                     " merges; CLIP's token_embedding has rows for ", num_merges));
  }
  return text;
}

struct NamedTensors {
  StateDictMap tensors;
  std::string config;  // config.json
  std::string files;
};

absl::StatusOr<NamedTensors> ReadNamed(const std::string& path, const std::string& part,
                                       StateDictMap (*names)(const StateDictMap&)) {
  auto checkpoint = ReadCheckpoint(path);
  if (!checkpoint.ok()) return checkpoint.status();
  auto weights = WeightsOf(*checkpoint, part);
  if (!weights.ok()) return weights.status();
  if (weights->size() < 4 && !checkpoint->others.empty()) {
    std::vector<std::string> others;
    for (const auto& [name, what] : checkpoint->others) {
      if (others.size() < 8) others.push_back(absl::StrCat(name, " is ", what));
    }
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": hardly any tensors; ", absl::StrJoin(others, ", ")));
  }
  return NamedTensors{names(*weights), checkpoint->config, absl::StrJoin(checkpoint->files, ", ")};
}

TensorSource SourceOf(StateDictMap tensors, TensorShapes shapes) {
  return {.shapes = std::move(shapes),
          .tensor = [tensors = std::move(tensors)](const std::string& name) {
            return tensors.at(name);
          }};
}

// --- Random ---

// Draws what `shallow` has not: every tensor with the mean and deviation of its like in the first
// block.
template <typename Network>
TensorSource RandomSource(Network shallow, TensorShapes shapes) {
  const torch::NoGradGuard no_grad;
  InitializeWeights(shallow);
  for (Tensor& parameter : shallow->parameters()) {
    if (parameter.dim() > 0 && !parameter.any().template item<bool>()) {
      parameter.normal_(0, kSmall);
    }
  }
  return {.shapes = std::move(shapes),
          .tensor = [state = StateDict(*shallow)](const std::string& name) {
            const torch::NoGradGuard inside;
            const auto found = state.find(name);
            if (found != state.end()) return found->second;
            const Tensor& like = state.at(NameInFirstBlock(name));
            const double mean = like.mean().item<double>();
            const double deviation = like.numel() > 1 ? like.std().item<double>() : 0;
            return torch::empty_like(like).normal_(mean, deviation);
          }};
}

std::string Utf8(int code) {
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// `count` merges of two of the byte alphabet's 188 printable characters.
std::string MadeUpMerges(int64_t count) {
  std::vector<std::string> symbols;
  for (const auto& [first, last] :
       std::initializer_list<std::pair<int, int>>{{33, 126}, {161, 172}, {174, 255}}) {
    for (int code = first; code <= last; ++code) symbols.push_back(Utf8(code));
  }
  std::string text = "#version: 0.2\n";
  for (const std::string& left : symbols) {
    for (const std::string& right : symbols) {
      for (const char* end : {"", "</w>"}) {
        if (count-- <= 0) return text;
        absl::StrAppend(&text, left, " ", right, end, "\n");
      }
    }
  }
  return text;
}

// First line of an exception's message.
absl::Status ErrorOf(absl::string_view doing, const std::exception& error) {
  const std::string what = error.what();
  return absl::InternalError(absl::StrCat(doing, ": ", what.substr(0, what.find('\n'))));
}

}  // namespace

absl::Status StreamBundle(const std::string& folder, const BundleConfig& config,
                          const TensorSource& sdit, const TensorSource& autoencoder,
                          const TensorSource& clip, const std::string& merges, bool half) {
  std::map<std::string, std::string> files;
  // All that a configuration can say wrong of itself.
  if (auto parsed = BundleConfigFromJson(BundleConfigToJson(config, files), nullptr);
      !parsed.ok()) {
    return parsed.status();
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot make ", folder, ": ", error.message()));
  }
  const fs::path root(folder);
  try {
    for (const auto& [name, source] :
         std::initializer_list<std::pair<const char*, const TensorSource*>>{
             {kSDiTFile, &sdit}, {kAutoencoderFile, &autoencoder}, {kClipFile, &clip}}) {
      if (auto status = StreamNetwork((root / name).string(), *source, half); !status.ok()) {
        return status;
      }
      files[name];
    }
  } catch (const std::exception& e) {  // c10::Error, std::bad_alloc
    return ErrorOf("writing tensors", e);
  }
  if (auto status = WriteAtomically(root / kMergesFile, merges); !status.ok()) return status;
  files[kMergesFile];
  for (const std::string& name : {config.landmark_model, config.landmark_detector}) {
    if (fs::exists(root / name, error)) files[name];
  }
  for (auto& [name, hash] : files) {
    const auto mapped = MappedFile::Open((root / name).string(), MappedFile::Access::kReadOnly);
    if (!mapped.ok()) return mapped.status();
    hash = Sha256Hex((*mapped)->bytes());
  }
  return WriteAtomically(root / "bundle.json", BundleConfigToJson(config, files));
}

absl::Status MakeBundle(const std::string& folder, BundleConfig config,
                        const BundleSources& sources, bool half, std::vector<std::string>* report) {
  std::vector<std::string> problems;
  const auto add = [&problems](absl::string_view what, const absl::Status& status) {
    if (!status.ok()) problems.push_back(absl::StrCat(what, ": ", status.message()));
  };
  TensorSource sdit_source, autoencoder_source, clip_source;
  std::string merges;
  try {
    // Autoencoder first: its downscale turns a picture's size into latents.
    auto autoencoder = ReadNamed(sources.autoencoder, "", AutoencoderKLNames);
    add("--vae", autoencoder.status());
    bool has_autoencoder = false;
    if (autoencoder.ok()) {
      const auto found = AutoencoderKLConfigFrom(autoencoder->tensors, autoencoder->config);
      add(absl::StrCat("--vae: ", autoencoder->files), found.status());
      if (found.ok()) {
        config.autoencoder = *found;
        has_autoencoder = true;
        TensorShapes shapes = ShapesOf(*found);
        add(absl::StrCat("--vae: ", autoencoder->files),
            CheckWeights(shapes, autoencoder->tensors, torch::kFloat32));
        report->push_back(absl::StrCat("autoencoder: ", autoencoder->files, ", ",
                                       autoencoder->tensors.size(), " tensors, downscale ",
                                       found->downscale()));
        autoencoder_source = SourceOf(std::move(autoencoder->tensors), std::move(shapes));
      }
    }

    auto clip = ReadNamed(sources.clip, "", ClipNames);
    add("--clip", clip.status());
    bool has_clip = false;
    if (clip.ok()) {
      const auto found = ClipConfigFrom(clip->tensors, clip->config);
      add(absl::StrCat("--clip: ", clip->files), found.status());
      if (found.ok()) {
        config.clip = *found;
        has_clip = true;
        TensorShapes shapes = ShapesOf(*found);
        add(absl::StrCat("--clip: ", clip->files),
            CheckWeights(shapes, clip->tensors, torch::kFloat32));
        report->push_back(absl::StrCat("clip: ", clip->files, ", ", clip->tensors.size(),
                                       " tensors, dimension ", found->projection_dim));
        clip_source = SourceOf(std::move(clip->tensors), std::move(shapes));
        auto text = ReadMerges(sources.merges, found->text.vocab_size - kTokensBesideMerges);
        add("--merges", text.status());
        if (text.ok()) merges = *std::move(text);
      }
    }

    auto dit = ReadNamed(sources.dit, sources.dit_part, DiTNames);
    add("--dit", dit.status());
    if (dit.ok()) {
      const std::string where = absl::StrCat("--dit: ", dit->files);
      // Where the other parts are at fault, the usual ones stand in, to find this part's faults.
      const int64_t downscale = has_autoencoder ? config.autoencoder.downscale() : 8;
      const int64_t latent_size = sources.image_size / downscale;
      StateDictMap tensors;
      std::optional<TensorShapes> shapes;
      if (dit->tensors.contains("temporal_pos_embed")) {
        const auto found = SDiTConfigFrom(dit->tensors, sources.num_heads);
        add(where, found.status());
        if (found.ok()) {
          config.sdit = *found;
          tensors = dit->tensors;
          shapes = ShapesOf(*found);
          report->push_back(
              absl::StrCat("sdit: ", dit->files, ", an sDiT of ", tensors.size(), " tensors"));
        }
      } else {
        const auto found = DiTConfigFrom(dit->tensors, dit->config, sources.num_heads, latent_size);
        add(where, found.status());
        if (found.ok()) {
          SDiTConfig& sdit = config.sdit;
          sdit = SDiTConfig();
          sdit.latent_channels = found->latent_channels;
          sdit.latent_size = found->latent_size;
          sdit.patch_size = found->patch_size;
          sdit.hidden_size = found->hidden_size;
          sdit.depth = found->depth;
          sdit.num_heads = found->num_heads;
          sdit.learn_sigma = found->learn_sigma;
          sdit.num_frames = sources.num_frames;
          sdit.clip_dim = has_clip ? config.clip.projection_dim : 768;
          if (auto status = Validate(sdit); !status.ok()) {
            add(where, status);
          } else {
            shapes = ShapesOf(sdit);
            const Tensor positions = SpatialPositions(sdit.tokens_side(), sdit.hidden_size);
            tensors = SDiTFromDiT(dit->tensors);
            const auto stored = tensors.find("pos_embed");
            if (stored != tensors.end() && stored->second.sizes() == positions.sizes() &&
                !((stored->second.to(torch::kFloat) - positions).abs().max().item<double>() <=
                  kPositionTolerance)) {
              problems.push_back(
                  absl::StrCat(where, ": pos_embed is not DiT's table of sines and cosines"));
            }
            // What the DiT has not, from a fresh network.
            torch::manual_seed(sources.seed);
            SDiTConfig shallow = ShallowConfig(sdit);
            shallow.mapping_blocks = sdit.mapping_blocks;
            SDiT fresh(shallow);
            InitializeWeights(fresh);
            size_t num_fresh = 0;
            for (const auto& [name, tensor] : StateDict(*fresh)) {
              if (name.starts_with("mapping.") || name.starts_with("null_") ||
                  name == "temporal_pos_embed" || name == "pos_embed") {
                num_fresh += tensors.emplace(name, tensor.detach()).second ? 1 : 0;
              }
            }
            tensors["mapping.out.bias"] =
                dit->tensors.at("y_embedder.embedding_table.weight")[found->num_classes];
            config.training["initialised_from"] = fs::path(sources.dit).filename().string();
            config.training["note"] =
                "backbone of a DiT; the mapping network is random and must be trained";
            config.training["seed"] = sources.seed;
            report->push_back(absl::StrCat("sdit: ", dit->files, ", a DiT of ", dit->tensors.size(),
                                           " tensors; ", num_fresh, " new ones, not trained"));
          }
        }
      }
      if (shapes.has_value()) {
        add(where, CheckWeights(*shapes, tensors, torch::kFloat32));
        sdit_source = SourceOf(std::move(tensors), *std::move(shapes));
      }
      config.frames_per_row = config.sdit.num_frames;
      config.image_size = config.sdit.latent_size * downscale;
      if (problems.empty() && sources.image_size != 0 && sources.image_size != config.image_size) {
        problems.push_back(absl::StrCat(where, ": its pictures have ", config.image_size,
                                        " pixels, not ", sources.image_size));
      }
    }
    if (!problems.empty()) {
      return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
    }
    return StreamBundle(folder, config, sdit_source, autoencoder_source, clip_source, merges, half);
  } catch (const std::exception& error) {  // c10::Error, std::bad_alloc
    return ErrorOf("making a bundle", error);
  }
}

absl::StatusOr<BundleConfig> NamedBundleConfig(const std::string& name, int64_t image_size,
                                               int64_t frames_per_row) {
  BundleConfig config = SmallBundleConfig();
  config.training["note"] = "random weights, not trained";
  config.frames_per_row = config.sdit.num_frames = frames_per_row;
  if (name == "small") {
    if (image_size > 0) config.image_size = image_size;
    config.sdit.latent_size = config.image_size / config.autoencoder.downscale();
    return config;
  }
  if (name == "demo") {
    config.image_size = image_size > 0 ? image_size : 128;
    config.sdit.patch_size = 2;
    config.sdit.hidden_size = 192;
    config.sdit.depth = 6;
    config.sdit.num_heads = 3;
    config.sdit.clip_dim = config.clip.projection_dim = 256;
    config.sdit.mapping_blocks = 4;
    config.sdit.learn_sigma = false;
    config.autoencoder.block_out_channels = {16, 32, 64, 96};
    config.autoencoder.norm_num_groups = 8;
    config.clip.vision = {128, 64, 512, 4, 4, 8};
    config.clip.text = {128, 512, 4, 4, 702, 77, 700, 701};
    config.sdit.latent_size = config.image_size / config.autoencoder.downscale();
    return config;
  }

  struct Size {
    const char* name;
    int64_t hidden_size, depth, num_heads;
    bool large_clip;
  };
  constexpr Size kSizes[] = {{"S", 384, 12, 6, false},
                             {"B", 768, 12, 12, false},
                             {"L", 1024, 24, 16, true},
                             {"XL", 1152, 28, 16, true}};
  const size_t slash = name.find('/');
  const std::string size_name = absl::AsciiStrToUpper(name.substr(0, slash));
  const std::string patch = slash == std::string::npos ? "" : name.substr(slash + 1);
  const auto size = std::find_if(std::begin(kSizes), std::end(kSizes),
                                 [&](const Size& s) { return size_name == s.name; });
  if (size == std::end(kSizes) || (patch != "2" && patch != "4" && patch != "8")) {
    return absl::InvalidArgumentError(
        absl::StrCat("no configuration \"", name,
                     "\": small, demo, or S, B, L or XL with a patch size of 2, 4 or 8 (XL/2)"));
  }
  config.prediction = Prediction::kEpsilon;
  config.default_num_steps = 50;
  config.image_size = image_size > 0 ? image_size : 256;
  config.autoencoder = AutoencoderKLConfig();
  config.autoencoder.block_out_channels = {128, 256, 512, 512};
  config.clip.projection_dim = size->large_clip ? 768 : 512;
  config.clip.vision = size->large_clip ? ClipConfig::Vision{1024, 224, 4096, 16, 24, 14}
                                        : ClipConfig::Vision{768, 224, 3072, 12, 12, 32};
  config.clip.text = size->large_clip ? ClipConfig::Text{768, 3072, 12, 12, 49408, 77, 49406, 49407}
                                      : ClipConfig::Text{512, 2048, 8, 12, 49408, 77, 49406, 49407};
  config.sdit = SDiTConfig();
  config.sdit.latent_size = config.image_size / config.autoencoder.downscale();
  config.sdit.patch_size = patch[0] - '0';
  config.sdit.hidden_size = size->hidden_size;
  config.sdit.depth = size->depth;
  config.sdit.num_heads = size->num_heads;
  config.sdit.num_frames = frames_per_row;
  config.sdit.clip_dim = config.clip.projection_dim;
  return config;
}

absl::Status StreamRandomBundle(const std::string& folder, const BundleConfig& config,
                                const std::string& merges, bool half, uint64_t seed) {
  for (const absl::Status& status :
       {Validate(config.sdit), Validate(config.autoencoder), Validate(config.clip)}) {
    if (!status.ok()) return status;
  }
  const int64_t num_merges = config.clip.text.vocab_size - kTokensBesideMerges;
  std::string text;
  if (merges.empty()) {
    text = MadeUpMerges(num_merges);
  } else {
    auto read = ReadMerges(merges, num_merges);
    if (!read.ok()) return read.status();
    text = *std::move(read);
  }
  try {
    torch::manual_seed(seed);
    return StreamBundle(
        folder, config, RandomSource(SDiT(ShallowConfig(config.sdit)), ShapesOf(config.sdit)),
        RandomSource(AutoencoderKL(config.autoencoder), ShapesOf(config.autoencoder)),
        RandomSource(Clip(ShallowConfig(config.clip)), ShapesOf(config.clip)), text, half);
  } catch (const std::exception& error) {  // c10::Error, std::bad_alloc
    return ErrorOf("making random weights", error);
  }
}

}  // namespace reenact
