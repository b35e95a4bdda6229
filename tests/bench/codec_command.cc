// `codec`: how long pictures take on their way in and out.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/face/crop.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/resize.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "tests/bench/clip.h"
#include "tests/bench/measure.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

struct Flags {
  std::string video;
  int size = 512;
  int frames = 60;
};

// Milliseconds of processor time of each call of `work`. FFmpeg may use threads of its own: they
// count.
absl::StatusOr<std::vector<double>> Time(int count, const std::function<absl::Status(int)>& work) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const Stopwatch watch;
    if (auto status = work(i); !status.ok()) return status;
    times.push_back(1000 * watch.elapsed().cpu);
  }
  return times;
}

void Add(Report& report, const std::string& what, const std::string& size,
         const std::vector<double>& times, double wall_ms) {
  double sum = 0;
  for (const double time : times) sum += time;
  Json json;
  json["bench"] = "codec";
  json["what"] = what;
  json["size"] = size;
  json["frames"] = times.size();
  json["ms_per_frame"] = Number(sum / static_cast<double>(times.size()), 4);
  json["ms_median"] = Number(Median(times), 4);
  json["ms_p95"] = Number(Percentile(times, 95), 4);
  json["wall_ms_per_frame"] = Number(wall_ms / static_cast<double>(times.size()), 4);
  json["clock"] = "cpu";
  report.Add(json);
}

absl::Status Run(const Flags& flags, Report& report) {
  std::vector<Image> images;
  if (flags.video.empty()) {
    for (int i = 0; i < flags.frames; ++i) {
      images.push_back(MovingPicture(flags.size, flags.size, i));
    }
  } else {
    const auto bytes = ReadFileBytes("--video", flags.video);
    if (!bytes.ok()) return bytes.status();
    auto frames = ReadFrames(*bytes, flags.frames);
    if (!frames.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--video: ", frames.status().message()));
    }
    for (const Image& frame : *frames) images.push_back(CentreSquare(frame, flags.size));
  }
  const std::string size = absl::StrCat(flags.size, "x", flags.size);
  const int count = static_cast<int>(images.size());
  const auto measure = [&](const std::string& what,
                           const std::function<absl::Status(int)>& work) -> absl::Status {
    const Stopwatch watch;
    auto times = Time(count, work);
    if (!times.ok()) return times.status();
    Add(report, what, size, *times, 1000 * watch.elapsed().wall);
    return absl::OkStatus();
  };

  absl::Status status;
  for (const VideoCodec codec : {VideoCodec::kH264, VideoCodec::kVp9, VideoCodec::kAv1,
                                 VideoCodec::kMjpeg, VideoCodec::kLossless}) {
    VideoWriter::Options options;
    options.codec = codec;
    options.width = options.height = flags.size;
    options.time_base_den = 25;
    options.frame_rate_num = 25;
    auto writer = VideoWriter::Create(options);
    if (!writer.ok()) return writer.status();
    std::string file;
    const auto append = [&file](const std::vector<VideoWriter::Piece>& pieces) {
      for (const VideoWriter::Piece& piece : pieces) file += piece.data;
    };
    status = measure(absl::StrCat(NameOf(codec), " encode"), [&](int i) -> absl::Status {
      auto pieces = (*writer)->Write(images[static_cast<size_t>(i)], i, 1);
      if (!pieces.ok()) return pieces.status();
      append(*pieces);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    auto last = (*writer)->Finish();
    if (!last.ok()) return last.status();
    append(*last);

    auto reader = VideoReader::Open(file);
    if (!reader.ok()) return reader.status();
    status = measure(absl::StrCat(NameOf(codec), " decode"), [&](int) -> absl::Status {
      const auto frame = (*reader)->Next();
      if (!frame.ok()) return frame.status();
      return frame->has_value() ? absl::OkStatus() : absl::InternalError("a frame is missing");
    });
    if (!status.ok()) return status;
  }

  // Off the pixel grid and slightly smaller, as a face crop is.
  const CropBox box = {0.5 * flags.size + 0.3, 0.5 * flags.size - 0.2, 0.8 * flags.size};
  volatile uint8_t sink = 0;
  status = measure("crop and resize", [&](int i) {
    sink = CropImage(images[static_cast<size_t>(i)], box, flags.size).rgb.front();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  status = measure("resize to a half", [&](int i) {
    sink = ResizeImage(images[static_cast<size_t>(i)], (flags.size + 1) / 2, (flags.size + 1) / 2)
               .rgb.front();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  for (const bool is_jpeg : {true, false}) {
    const std::string format = is_jpeg ? "JPEG" : "PNG";
    std::vector<std::string> files(images.size());
    status = measure(absl::StrCat(format, " encode"), [&](int i) -> absl::Status {
      const Image& image = images[static_cast<size_t>(i)];
      auto encoded = is_jpeg ? EncodeJpeg(image, 90) : EncodePng(image);
      if (!encoded.ok()) return encoded.status();
      files[static_cast<size_t>(i)] = *std::move(encoded);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    status = measure(absl::StrCat(format, " decode"),
                     [&](int i) { return DecodeImage(files[static_cast<size_t>(i)]).status(); });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

void AddCodec(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand("codec", "Video and picture coding, milliseconds a frame");
  const auto flags = std::make_shared<Flags>();
  command
      ->add_option("--video", flags->video,
                   "Take its pictures, the middle square. Default: drawn ones")
      ->type_name("FILE");
  command->add_option("--size", flags->size, "Side of the pictures in pixels")
      ->check(CLI::Range(16, 4096))
      ->capture_default_str();
  command->add_option("--frames", flags->frames, "Frames at most")
      ->check(CLI::Range(2, 10'000))
      ->capture_default_str();
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
