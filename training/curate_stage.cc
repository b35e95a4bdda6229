// `curate`: clips to train on from a folder of videos and pictures, in the form that `data` writes.
#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "eval/plot.h"
#include "nlohmann/json.hpp"
#include "pipeline/engine/sha256.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/weights/safetensors.h"
#include "training/atomic_file.h"
#include "training/clip_trainer.h"
#include "training/curation/curator.h"
#include "training/data_cache.h"
#include "training/landmarker_option.h"
#include "training/people/people.h"
#include "training/stages.h"
#include "training/trained_parts.h"

namespace reenact {
namespace {

using nlohmann::json;

struct CurateFlags {
  std::string videos, out, clip, face_models;
  bool held_out = false;
  CurationOptions curation;
};

absl::StatusOr<std::string> ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  if (!in) return absl::UnavailableError(absl::StrCat(path, " cannot be read"));
  return bytes.str();
}

// A crop of a face as CLIP sees it.
IdentityEmbedder ClipEmbedder(TrainedClip& clip) {
  return [&clip](const Image& face) -> absl::StatusOr<std::vector<float>> {
    torch::NoGradGuard no_grad;
    DataCache one;
    one.frames = torch::from_blob(const_cast<uint8_t*>(face.rgb.data()),
                                  {1, 1, face.height, face.width, 3}, torch::kUInt8)
                     .permute({0, 1, 4, 2, 3})
                     .contiguous();
    const torch::Tensor embedding = EmbedPictures(clip.network, one).flatten().contiguous();
    const auto* numbers = embedding.data_ptr<float>();
    return std::vector<float>(numbers, numbers + embedding.numel());
  };
}

// A clip's number stands where drawn people have their seeds.
uint64_t NumberOf(const std::string& file, size_t clip, bool held_out) {
  const uint64_t hash =
      std::stoull(Sha256Hex(absl::StrCat(file, "#", clip)).substr(0, 15), nullptr, 16);
  return hash % kFirstHeldOutSeed + (held_out ? kFirstHeldOutSeed : 0);
}

// What a file beside the video says of it, a phrasing a line: clip.mp4 -> clip.txt.
std::vector<std::string> CaptionsOf(const std::filesystem::path& video) {
  std::filesystem::path path = video;
  std::ifstream in(path.replace_extension(".txt"));
  std::vector<std::string> captions;
  std::string line;
  while (std::getline(in, line)) {
    const std::string text(absl::StripAsciiWhitespace(line));
    if (!text.empty()) captions.push_back(text);
  }
  if (captions.empty()) captions.push_back("a person");
  return captions;
}

absl::Status WriteShard(const std::string& path, const std::string& file,
                        const std::vector<std::string>& captions, const CurateFlags& flags,
                        const std::vector<CuratedClip>& clips, size_t first, size_t count) {
  const auto P = static_cast<int64_t>(count);
  const int64_t F = flags.curation.frames, S = flags.curation.size;
  auto frames = torch::empty({P, F, 3, S, S}, torch::kUInt8);
  auto masks = torch::empty({P, F, S, S}, torch::kUInt8);
  auto landmarks = torch::empty({P, F, kNumLandmarks, 3});
  auto lookalikes = torch::empty({P, F, 0, kNumLandmarks, 3});
  auto numbers = torch::empty({P}, torch::kInt64);
  json texts = json::array();
  for (int64_t p = 0; p < P; ++p) {
    const size_t index = first + static_cast<size_t>(p);
    const CuratedClip& clip = clips[index];
    numbers[p] = static_cast<int64_t>(NumberOf(file, index, flags.held_out));
    texts.push_back(captions);
    for (int64_t f = 0; f < F; ++f) {
      const Image& image = clip.frames[static_cast<size_t>(f)];
      frames[p][f].copy_(
          torch::from_blob(const_cast<uint8_t*>(image.rgb.data()), {S, S, 3}, torch::kUInt8)
              .permute({2, 0, 1}));
      const Landmarks& points = clip.landmarks[static_cast<size_t>(f)];
      StoreLandmarks(points, landmarks[p][f]);
      const std::vector<uint8_t> mask = ExpressiveMask(points, static_cast<int>(S));
      std::memcpy(masks[p][f].data_ptr<uint8_t>(), mask.data(), mask.size());
    }
  }
  return WriteSafetensors(path,
                          {{"frames", frames},
                           {"masks", masks},
                           {"landmarks", landmarks},
                           {"lookalikes", lookalikes},
                           {"seeds", numbers}},
                          {{"format", kDataFormat},
                           {"size", absl::StrCat(S)},
                           {"options", absl::StrCat("curated from ", file)},
                           {"captions", texts.dump()}});
}

std::string OptionsText(const CurateFlags& flags) {
  const SegmentRules& rules = flags.curation.rules;
  return absl::StrFormat(
      "seconds %g-%g face %g shift %g growth %g drift %g frames %d size %d seed %d clip %s%s",
      rules.min_seconds, rules.max_seconds, rules.min_face, rules.max_shift, rules.max_growth,
      flags.curation.max_drift, flags.curation.frames, flags.curation.size, flags.curation.seed,
      flags.clip.empty() ? "none" : flags.clip, flags.held_out ? " held out" : "");
}

json RecordOf(const std::string& file, const CuratedVideo& video) {
  json record = {{"file", file},
                 {"frames", video.num_frames},
                 {"frames_with_face", video.frames_with_face},
                 {"cuts", video.num_cuts},
                 {"discarded", video.discarded},
                 {"clips", json::array()}};
  for (const CuratedClip& clip : video.clips) {
    record["clips"].push_back({{"begin", clip.begin},
                               {"seconds", clip.seconds},
                               {"first_frame", clip.first_frame},
                               {"frames", clip.num_frames},
                               {"resolution", clip.resolution},
                               {"face_width_ratio", clip.face_width_ratio},
                               {"face_height_ratio", clip.face_height_ratio},
                               {"sharpness", clip.sharpness},
                               {"drift", clip.drift}});
  }
  return record;
}

// One file: shards and a record, the record last. An unreadable file is recorded too; what is
// returned as an error is trouble with the output.
absl::StatusOr<json> CurateFile(const std::filesystem::path& path, const CurateFlags& flags,
                                FaceLandmarker& landmarker, const IdentityEmbedder& embed) {
  const std::string file = path.filename().string();
  const auto bytes = ReadWhole(path.string());
  const auto curate = [&]() -> absl::StatusOr<CuratedVideo> {
    if (!bytes.ok()) return bytes.status();
    return LooksLikePicture(*bytes) ? CurateStill(*bytes, landmarker, flags.curation)
                                    : CurateVideo(*bytes, landmarker, embed, flags.curation);
  };
  const absl::StatusOr<CuratedVideo> video = curate();
  if (!video.ok())
    return json{{"file", file}, {"unreadable", std::string(video.status().message())}};
  const std::vector<std::string> captions = CaptionsOf(path);
  const std::string stem = Sha256Hex(file).substr(0, 12);
  for (size_t first = 0; first < video->clips.size(); first += kPeoplePerShard) {
    const size_t count = std::min<size_t>(kPeoplePerShard, video->clips.size() - first);
    const absl::Status status = WriteShard(
        absl::StrFormat("%s/people-%s-%03d.safetensors", flags.out, stem, first / kPeoplePerShard),
        file, captions, flags, video->clips, first, count);
    if (!status.ok()) return status;
  }
  return RecordOf(file, *video);
}

struct Spread {
  double mean = 0, deviation = 0;
};

Spread SpreadOf(const std::vector<double>& values) {
  Spread spread;
  for (const double value : values) spread.mean += value / static_cast<double>(values.size());
  for (const double value : values) {
    spread.deviation +=
        (value - spread.mean) * (value - spread.mean) / static_cast<double>(values.size());
  }
  spread.deviation = std::sqrt(spread.deviation);
  return spread;
}

// The share of values in each of 20 equal steps between the smallest and the largest, as an
// outline.
absl::Status DrawHistogram(const std::string& path, const std::string& label,
                           const std::vector<std::pair<std::string, std::vector<double>>>& sets) {
  constexpr int kBins = 20;
  double low = 1e300, high = -1e300;
  for (const auto& [name, values] : sets) {
    low = std::min(low, *std::min_element(values.begin(), values.end()));
    high = std::max(high, *std::max_element(values.begin(), values.end()));
  }
  const double width = std::max((high - low) / kBins, 1e-6);
  Plot plot;
  plot.x_label = label;
  plot.y_label = "share of clips";
  plot.y_from = 0;
  for (const auto& [name, values] : sets) {
    std::array<double, kBins> share{};
    for (const double value : values) {
      const int bin = std::clamp(static_cast<int>((value - low) / width), 0, kBins - 1);
      share[static_cast<size_t>(bin)] += 1 / static_cast<double>(values.size());
    }
    PlotSeries series{name, {}};
    for (int bin = 0; bin < kBins; ++bin) {
      series.points.emplace_back(low + width * bin, share[static_cast<size_t>(bin)]);
      series.points.emplace_back(low + width * (bin + 1), share[static_cast<size_t>(bin)]);
    }
    plot.series.push_back(std::move(series));
  }
  const auto picture = DrawPlot(plot);
  if (!picture.ok()) return picture.status();
  const auto png = EncodePng(*picture);
  if (!png.ok()) return png.status();
  return WriteFileAtomically(path, *png);
}

// manifest.json and the pictures of Appendix B.
absl::Status WriteManifest(const CurateFlags& flags, const std::vector<json>& records) {
  json manifest = {{"options", OptionsText(flags)},
                   {"files", records.size()},
                   {"identity_filter", flags.clip.empty() ? "off: no --clip" : "CLIP"},
                   {"unreadable", json::array()},
                   {"without_face", json::array()}};
  std::map<std::string, int64_t> discarded;
  std::map<std::string, std::vector<double>> columns;
  int64_t frames = 0, frames_with_face = 0;
  for (const json& record : records) {
    if (record.contains("unreadable")) {
      manifest["unreadable"].push_back({{"file", record["file"]}, {"why", record["unreadable"]}});
      continue;
    }
    frames += record["frames"].get<int64_t>();
    frames_with_face += record["frames_with_face"].get<int64_t>();
    if (record["frames_with_face"] == 0) manifest["without_face"].push_back(record["file"]);
    for (const auto& [why, count] : record["discarded"].items()) {
      discarded[why] += count.get<int64_t>();
    }
    for (const json& clip : record["clips"]) {
      for (const char* name :
           {"seconds", "resolution", "face_width_ratio", "face_height_ratio", "sharpness"}) {
        // A still picture has no duration.
        const auto value = clip[name].get<double>();
        if (value > 0 || std::string_view(name) != "seconds") columns[name].push_back(value);
      }
    }
  }
  manifest["frames"] = frames;
  manifest["frames_with_face"] = frames_with_face;
  manifest["discarded"] = discarded;
  manifest["clips"] = columns["resolution"].size();
  for (const auto& [name, values] : columns) {
    if (values.empty()) continue;
    const Spread spread = SpreadOf(values);
    manifest["statistics"][name] = {{"mean", spread.mean}, {"deviation", spread.deviation}};
  }
  absl::Status status = WriteFileAtomically(flags.out + "/manifest.json", manifest.dump(2) + "\n");
  if (!columns["seconds"].empty()) {
    status.Update(
        DrawHistogram(flags.out + "/duration.png", "seconds", {{"duration", columns["seconds"]}}));
  }
  if (!columns["resolution"].empty()) {
    status.Update(DrawHistogram(flags.out + "/resolution.png", "pixels",
                                {{"side of the crop", columns["resolution"]}}));
    status.Update(DrawHistogram(flags.out + "/quality.png", "variance of the Laplacian",
                                {{"sharpness", columns["sharpness"]}}));
    status.Update(DrawHistogram(flags.out + "/face_ratio.png", "share of the crop",
                                {{"face width", columns["face_width_ratio"]},
                                 {"face height", columns["face_height_ratio"]}}));
  }
  std::cout << manifest["clips"] << " clips of " << records.size() << " files, "
            << manifest["unreadable"].size() << " unreadable, " << manifest["without_face"].size()
            << " without a face" << std::endl;
  return status;
}

absl::Status Curate(const CurateFlags& flags, const StageContext& context) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(flags.videos, error)) {
    if (entry.is_regular_file() && entry.path().extension() != ".txt") {
      files.push_back(entry.path());
    }
  }
  if (error) return absl::NotFoundError(absl::StrCat(flags.videos, ": ", error.message()));
  if (files.empty()) return absl::NotFoundError(absl::StrCat(flags.videos, " holds no files"));
  std::sort(files.begin(), files.end());
  std::filesystem::create_directories(flags.out + "/records", error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(flags.out, ": ", error.message()));

  const auto landmarker = OpenLandmarker(flags.face_models);
  if (!landmarker.ok()) return landmarker.status();
  std::optional<TrainedClip> clip;
  if (!flags.clip.empty()) {
    auto read = ReadClip(flags.clip);
    if (!read.ok()) return read.status();
    clip = *std::move(read);
  }
  const IdentityEmbedder embed = clip ? ClipEmbedder(*clip) : nullptr;

  std::vector<json> records;
  for (size_t i = 0; i < files.size(); ++i) {
    if (context.stop != nullptr && context.stop->load()) return absl::OkStatus();
    const std::string name = files[i].filename().string();
    const std::string path =
        absl::StrCat(flags.out, "/records/", Sha256Hex(name).substr(0, 12), ".json");
    const std::string made_with =
        absl::StrCat(OptionsText(flags), " bytes ", std::filesystem::file_size(files[i], error));
    if (const auto before = ReadWhole(path); before.ok()) {
      json record = json::parse(*before, nullptr, /*allow_exceptions=*/false);
      if (record.is_object() && record.value("made_with", "") == made_with) {
        records.push_back(std::move(record));
        continue;
      }
    }
    auto record = CurateFile(files[i], flags, **landmarker, embed);
    if (!record.ok()) return record.status();
    (*record)["made_with"] = made_with;
    const absl::Status written = WriteFileAtomically(path, record->dump(2) + "\n");
    if (!written.ok()) return written;
    std::cout << i + 1 << " of " << files.size() << ": " << name << ": "
              << (record->contains("unreadable")
                      ? "unreadable: " + (*record)["unreadable"].get<std::string>()
                      : absl::StrCat((*record)["clips"].size(), " clips"))
              << std::endl;
    records.push_back(*std::move(record));
  }
  return WriteManifest(flags, records);
}

}  // namespace

void AddCurateStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto flags = std::make_shared<CurateFlags>();
  CLI::App* command = app.add_subcommand(
      "curate", "clips from a folder of videos and pictures, as `data` writes them");
  command->add_option("--videos", flags->videos, "folder; beside x.mp4, x.txt may hold captions")
      ->required();
  command->add_option("--out", flags->out, "folder for shards, records and manifest.json")
      ->required();
  command->add_option("--clip", flags->clip,
                      "folder of `clip`, for the identity filter; without it there is none");
  AddFaceModelsOption(*command, flags->face_models);
  CurationOptions& o = flags->curation;
  command->add_option("--min-seconds", o.rules.min_seconds)->capture_default_str();
  command->add_option("--max-seconds", o.rules.max_seconds)->capture_default_str();
  command->add_option("--min-face", o.rules.min_face, "pixels, larger side of the face's box")
      ->capture_default_str();
  command->add_option("--max-shift", o.rules.max_shift, "between frames, share of the box")
      ->capture_default_str();
  command->add_option("--max-growth", o.rules.max_growth, "likewise")->capture_default_str();
  command->add_option("--max-drift", o.max_drift, "1 - cosine from the segment's first frame")
      ->capture_default_str();
  command->add_option("--frames", o.frames, "kept of each segment")
      ->check(CLI::Range(2, 120))
      ->capture_default_str();
  command->add_option("--size", o.size, "pixels")
      ->check(CLI::Range(32, 1024))
      ->capture_default_str();
  command->add_option("--seed", o.seed)->capture_default_str();
  command->add_flag("--held-out", flags->held_out, "for evaluation: never to be trained on");
  stages.push_back(
      {command, [flags](const StageContext& context) { return Curate(*flags, context); }});
}

}  // namespace reenact
