// reenact-strip: one picture that shows what a reenactment did. The source at the left; right of
// it, for moments spread evenly over the clip, the driver's face above (if he is to be shown) and
// the generated frames below, a row for each video, with a label or a source of its own.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/image.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/reenactor/face_models.h"
#include "pipeline/reenactor/strip_sheet.h"

namespace reenact {
namespace {

struct Arguments {
  std::string driving, output, face_models;
  std::vector<std::string> sources, generated, labels;
  int columns = 6;
  std::vector<double> at;  // shares of the clip; empty: `columns` evenly
  int size = 192;
  bool whole_source = false;
};

absl::StatusOr<std::string> ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  std::ostringstream content;
  content << in.rdbuf();
  return std::move(content).str();
}

// Which of `count` frames are shown, in order; the first and the last one included if nobody says.
std::vector<int> Moments(int count, const Arguments& arguments) {
  std::vector<int> moments;
  for (const double share : arguments.at) {
    moments.push_back(static_cast<int>(std::lround(share * (count - 1))));
  }
  if (!moments.empty()) {
    std::sort(moments.begin(), moments.end());
    return moments;
  }
  const int columns = arguments.columns;
  for (int i = 0; i < columns; ++i) {
    moments.push_back(columns == 1 ? count / 2
                                   : static_cast<int>(int64_t{i} * (count - 1) / (columns - 1)));
  }
  return moments;
}

absl::StatusOr<int> CountFrames(const std::string& bytes) {
  auto reader = VideoReader::Open(bytes);
  if (!reader.ok()) return reader.status();
  int count = 0;
  while (true) {
    auto frame = (*reader)->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return count;
    ++count;
  }
}

// `moments` is sorted and may repeat.
absl::StatusOr<std::vector<Image>> PickFrames(const std::string& bytes,
                                              const std::vector<int>& moments) {
  auto reader = VideoReader::Open(bytes);
  if (!reader.ok()) return reader.status();
  std::vector<Image> picked;
  for (int index = 0; picked.size() < moments.size(); ++index) {
    auto frame = (*reader)->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return absl::InternalError("a video became shorter while reading it");
    while (picked.size() < moments.size() && moments[picked.size()] == index) {
      picked.push_back((*frame)->image);
    }
  }
  return picked;
}

// Pictures of one clip, cropped by one box around the face, or whole if there is none.
absl::StatusOr<std::vector<Image>> CropFaces(FaceLandmarker& landmarker,
                                             const std::vector<Image>& images, int size) {
  std::vector<Landmarks> faces;
  for (const Image& image : images) {
    auto face = landmarker.Detect(image);
    if (!face.ok()) return face.status();
    if (face->has_value()) faces.push_back((*face)->landmarks);
  }
  const CropBox box = FaceCrop(faces, images[0].width, images[0].height);
  std::vector<Image> crops;
  for (const Image& image : images) crops.push_back(CropImage(image, box, size));
  return crops;
}

// The face of a source, or the whole picture.
absl::StatusOr<Image> ReadSource(const std::string& path, FaceLandmarker& landmarker,
                                 const Arguments& arguments) {
  auto bytes = ReadWhole(path);
  if (!bytes.ok()) return bytes.status();
  auto source = DecodeImage(*bytes);
  if (!source.ok() || arguments.whole_source) return source;
  auto crop = CropFaces(landmarker, {*source}, arguments.size);
  if (!crop.ok()) return crop.status();
  return std::move((*crop)[0]);
}

// The rows from above: the driver's, then one for each video.
absl::StatusOr<std::vector<StripRow>> ReadRows(FaceLandmarker& landmarker,
                                               const Arguments& arguments) {
  std::vector<std::string> videos;
  int count = std::numeric_limits<int>::max();
  const auto read = [&](const std::string& path) -> absl::Status {
    auto bytes = ReadWhole(path);
    if (!bytes.ok()) return bytes.status();
    auto num_frames = CountFrames(*bytes);
    if (!num_frames.ok()) return num_frames.status();
    videos.push_back(*std::move(bytes));
    count = std::min(count, *num_frames);
    return absl::OkStatus();
  };
  const bool with_driver = !arguments.driving.empty();
  if (with_driver) {
    if (auto status = read(arguments.driving); !status.ok()) return status;
  }
  for (const std::string& path : arguments.generated) {
    if (auto status = read(path); !status.ok()) return status;
  }
  const std::vector<int> moments = Moments(count, arguments);

  std::vector<StripRow> rows;
  for (size_t i = 0; i < videos.size(); ++i) {
    auto pictures = PickFrames(videos[i], moments);
    if (pictures.ok() && with_driver && i == 0) {
      pictures = CropFaces(landmarker, *pictures, arguments.size);
    }
    if (!pictures.ok()) return pictures.status();
    rows.push_back({{}, "", *std::move(pictures)});
  }
  return rows;
}

absl::Status MakeStrip(const Arguments& arguments) {
  auto models = ReadFaceModels(FaceModelsFolder(arguments.face_models), {}, {});
  if (!models.ok()) return models.status();
  auto landmarker = FaceLandmarker::Create({models->detector, models->landmark_model});
  if (!landmarker.ok()) return landmarker.status();

  auto rows = ReadRows(**landmarker, arguments);
  if (!rows.ok()) return rows.status();
  const size_t first_video = rows->size() - arguments.generated.size();
  for (size_t i = 0; i < arguments.labels.size(); ++i) {
    (*rows)[first_video + i].label = arguments.labels[i];
  }
  Image common_source;
  for (size_t i = 0; i < arguments.sources.size(); ++i) {
    auto source = ReadSource(arguments.sources[i], **landmarker, arguments);
    if (!source.ok()) return source.status();
    Image& place = arguments.sources.size() == 1 ? common_source : (*rows)[first_video + i].source;
    place = *std::move(source);
  }

  auto canvas = DrawStrip(common_source, *rows, arguments.size);
  if (!canvas.ok()) return canvas.status();
  auto png = EncodePng(*canvas);
  if (!png.ok()) return png.status();
  std::ofstream out(arguments.output, std::ios::binary);
  out << *png;
  out.close();
  if (!out) return absl::InternalError(absl::StrCat("cannot write ", arguments.output));
  return absl::OkStatus();
}

// Sources and labels belong to the videos.
absl::Status CheckCounts(const Arguments& arguments) {
  const size_t videos = arguments.generated.size();
  if (arguments.sources.size() > 1 && arguments.sources.size() != videos) {
    return absl::InvalidArgumentError(absl::StrCat("--source names ", arguments.sources.size(),
                                                   " pictures, must be 0, 1 or ", videos,
                                                   ", as many as --generated"));
  }
  if (!arguments.labels.empty() && arguments.labels.size() != videos) {
    return absl::InvalidArgumentError(absl::StrCat("--label names ", arguments.labels.size(),
                                                   " texts, must be 0 or ", videos,
                                                   ", as many as --generated"));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace reenact

int main(int argc, char** argv) {
  reenact::Arguments arguments;
  CLI::App app("Puts the source, driving faces and generated frames into one picture.");
  app.add_option("--source", arguments.sources,
                 "Source image; as many as videos: each beside its own; none: not shown");
  app.add_option("--driving", arguments.driving, "Driving video; without it no driver is shown");
  app.add_option("--generated", arguments.generated, "Video made from the two; several: a row each")
      ->required();
  app.add_option("--label", arguments.labels, "Text at the left of each video, as many as videos");
  app.add_option("-o,--output", arguments.output, "PNG file to write")->required();
  app.add_option("--columns", arguments.columns, "Moments shown")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--at", arguments.at,
                 "Moments shown instead, as shares of the clip, 0 to 1; joined by commas")
      ->check(CLI::Range(0.0, 1.0))
      ->delimiter(',');
  app.add_option("--size", arguments.size, "Height of each picture, pixels")
      ->check(CLI::Range(16, 1024))
      ->capture_default_str();
  app.add_flag("--whole-source", arguments.whole_source, "Show whole sources, not their faces");
  app.add_option("--face-models", arguments.face_models,
                 "Folder of the .tflite files (default: REENACT_FACE_MODELS, .deps/mediapipe)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // 0: --help
  }

  if (const absl::Status status = reenact::CheckCounts(arguments); !status.ok()) {
    std::cerr << "reenact-strip: " << status.message() << "\n";
    return 2;
  }
  const absl::Status status = reenact::MakeStrip(arguments);
  if (!status.ok()) {
    std::cerr << "reenact-strip: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
