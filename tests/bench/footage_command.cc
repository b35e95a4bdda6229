// `footage`: what a frame of real footage costs around the denoising: decoding, finding cuts and
// following the face, cropping, putting a square back and encoding.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/compose/paste_back.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_tracker.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "pipeline/reenactor/face_models.h"
#include "tests/bench/clip.h"
#include "tests/bench/measure.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

struct Flags {
  std::string video, models;
  int frames = 250;
  int size = 512;
};

// Different frames at most.
constexpr int kMaxSource = 100;

enum Part { kDecode, kTrack, kCrop, kPaste, kEncode, kNumParts };
constexpr std::array<const char*, kNumParts> kNames = {"decode", "cuts and face", "crop",
                                                       "paste back", "encode"};

// The video again and again.
class Loop {
 public:
  static absl::StatusOr<Loop> Open(std::string bytes) {
    Loop loop;
    loop.bytes_ = std::move(bytes);
    auto reader = VideoReader::Open(loop.bytes_);
    if (!reader.ok()) return reader.status();
    loop.reader_ = *std::move(reader);
    return loop;
  }

  absl::StatusOr<Image> Next() {
    while (true) {
      auto frame = reader_->Next();
      if (!frame.ok()) return frame.status();
      if (frame->has_value()) return std::move((*frame)->image);
      auto reader = VideoReader::Open(bytes_);
      if (!reader.ok()) return reader.status();
      reader_ = *std::move(reader);
    }
  }

 private:
  std::string bytes_;
  std::unique_ptr<VideoReader> reader_;
};

absl::Status Run(const Flags& flags, Report& report) {
  const std::string path = flags.video.empty() ? FindDemoFile("driving.mp4") : flags.video;
  if (path.empty()) return absl::InvalidArgumentError("--video: name a video, there is no demo's");
  auto bytes = ReadFileBytes("--video", path);
  if (!bytes.ok()) return bytes.status();
  // At the size asked for, so that decoding is measured at it too.
  auto frames = ReadFrames(*bytes, std::min(flags.frames, kMaxSource));
  if (!frames.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--video: ", frames.status().message()));
  }
  for (Image& frame : *frames) frame = CentreSquare(frame, flags.size);
  // Forth and back, so that starting over is no cut.
  auto clip = EncodeClip(*frames, 2 * static_cast<int>(frames->size()));
  if (!clip.ok()) return clip.status();
  frames->clear();
  frames->shrink_to_fit();
  auto loop = Loop::Open(*std::move(clip));
  if (!loop.ok()) return loop.status();

  auto models = ReadFaceModels(FaceModelsFolder(flags.models), "", {});
  if (!models.ok()) {
    return absl::NotFoundError(absl::StrCat("--models: ", models.status().message()));
  }
  auto landmarker = FaceLandmarker::Create({.detector = std::move(models->detector),
                                            .landmark_model = std::move(models->landmark_model)});
  if (!landmarker.ok()) return landmarker.status();
  FaceTracker tracker({}, **landmarker);
  PasteBack paste({});
  VideoWriter::Options encoding;
  encoding.width = encoding.height = flags.size;
  encoding.time_base_den = 25;
  encoding.frame_rate_num = 25;
  auto writer = VideoWriter::Create(encoding);
  if (!writer.ok()) return writer.status();

  std::array<std::vector<double>, kNumParts> times;
  std::vector<double> totals;
  std::optional<Landmarks> first;
  int faces = 0, cuts = 0;
  double early_rss = 0;
  ResetPeakRss();  // reading the video took more
  const Stopwatch whole;
  for (int i = 0; i < flags.frames; ++i) {
    std::array<double, kNumParts> time = {};
    Stopwatch watch;
    const auto lap = [&](Part part) {
      time[part] = 1000 * watch.elapsed().cpu;
      watch = Stopwatch();
    };
    auto image = loop->Next();
    if (!image.ok()) return image.status();
    lap(kDecode);
    auto tracked = tracker.Next(*image);
    if (!tracked.ok()) return tracked.status();
    const std::optional<Landmarks>& face = tracked->faces[0].landmarks;
    faces += face.has_value() ? 1 : 0;
    cuts += tracked->cut ? 1 : 0;
    lap(kTrack);
    // As large as the picture, between its pixels: the most a frame of this size costs.
    const CropBox box = {0.5 * flags.size + 0.3, 0.5 * flags.size - 0.2, 1.0 * flags.size};
    const Image crop = CropImage(*image, box, flags.size);
    lap(kCrop);
    PasteBack::Faces meshes;
    if (face.has_value()) {
      meshes.generated = ToCrop(*face, box, flags.size, flags.size);
      if (!first.has_value()) first = meshes.generated;
      meshes.original = first;
    }
    if (auto status = paste.Blend(crop, box, meshes, *image); !status.ok()) return status;
    lap(kPaste);
    auto pieces = (*writer)->Write(*image, i, 1);
    if (!pieces.ok()) return pieces.status();
    lap(kEncode);
    double total = 0;
    for (int part = 0; part < kNumParts; ++part) {
      times[part].push_back(time[part]);
      total += time[part];
    }
    totals.push_back(total);
    if (i + 1 == std::max(flags.frames / 4, 1)) early_rss = PeakRssMb();
  }
  const double wall = 1000 * whole.elapsed().wall / flags.frames;
  const auto add = [&](const std::string& what, const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    Json json;
    json["bench"] = "footage";
    json["what"] = what;
    json["size"] = absl::StrCat(flags.size, "x", flags.size);
    json["frames"] = values.size();
    json["ms_per_frame"] = Number(sum / static_cast<double>(values.size()), 4);
    json["ms_median"] = Number(Median(values), 4);
    json["ms_p95"] = Number(Percentile(values, 95), 4);
    json["clock"] = "cpu";
    return json;
  };
  for (int part = 0; part < kNumParts; ++part) report.Add(add(kNames[part], times[part]));
  Json json = add("together", totals);
  json["wall_ms_per_frame"] = Number(wall, 4);
  json["faces"] = faces;
  json["cuts"] = cuts;
  // Whether memory depends on the length: after a quarter of the frames, and after all.
  json["early_peak_rss_mb"] = Number(early_rss);
  json["peak_rss_mb"] = Number(PeakRssMb());
  report.Add(json);
  return absl::OkStatus();
}

}  // namespace

void AddFootage(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "footage", "Everything around the denoising of a frame, milliseconds a frame");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--video", flags->video, "A video of a face. Default: the demo's")
      ->type_name("FILE");
  command->add_option("--models", flags->models, "Folder of the landmark models")
      ->type_name("FOLDER");
  command
      ->add_option("--frames", flags->frames,
                   "Frames: the video's first 100 forth and back, again and again")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--size", flags->size, "Side of the pictures in pixels, the middle square")
      ->check(CLI::Range(64, 4096))
      ->capture_default_str();
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
