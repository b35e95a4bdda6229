// `landmarks`: our face landmarks, and MediaPipe's own on the same pictures if it is at hand.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/reenactor/face_models.h"
#include "tests/bench/clip.h"
#include "tests/bench/measure.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

struct Flags {
  std::string video, models, python = "python3";
  int frames = 100;
  int size = 480;
  bool no_mediapipe = false;
};

// Reads raw RGB pictures; prints the milliseconds of processor time per picture, tracking and then
// with the detector for each picture, or exits with 3 if there is no mediapipe.
constexpr char kMediaPipeProgram[] = R"(
import sys, time
try:
    import numpy as np
    from mediapipe.python.solutions.face_mesh import FaceMesh
except ImportError:
    sys.exit(3)
side = int(sys.argv[2])
frames = np.fromfile(sys.argv[1], np.uint8).reshape(-1, side, side, 3)
for static in (False, True):
    with FaceMesh(static_image_mode=static, refine_landmarks=True) as mesh:
        mesh.process(frames[0])
        mesh.reset()
        faces, start, wall = 0, time.process_time(), time.perf_counter()
        for frame in frames:
            faces += mesh.process(frame).multi_face_landmarks is not None
        print(1000 * (time.process_time() - start) / len(frames),
              1000 * (time.perf_counter() - wall) / len(frames), faces)
)";

struct MediaPipeTimes {
  double ms = 0;  // processor time a picture
  double wall_ms = 0;
  int faces = 0;
};

struct PipeCloser {
  void operator()(std::FILE* pipe) const { pclose(pipe); }
};

std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// Tracking, static. None: Python or mediapipe is not there.
std::optional<std::array<MediaPipeTimes, 2>> RunMediaPipe(const std::string& python,
                                                          const std::vector<Image>& images,
                                                          int side) {
  std::string path = (std::filesystem::temp_directory_path() / "reenact-bench-XXXXXX").string();
  const int fd = mkstemp(path.data());
  if (fd < 0) return std::nullopt;
  close(fd);
  {
    std::ofstream out(path, std::ios::binary);
    for (const Image& image : images) {
      out.write(reinterpret_cast<const char*>(image.rgb.data()),
                static_cast<std::streamsize>(image.rgb.size()));
    }
  }
  const std::string command = absl::StrCat(Quoted(python), " -c ", Quoted(kMediaPipeProgram), " ",
                                           Quoted(path), " ", side, " 2>/dev/null");
  std::array<MediaPipeTimes, 2> times;
  bool complete = true;
  {
    const std::unique_ptr<std::FILE, PipeCloser> pipe(popen(command.c_str(), "r"));
    for (MediaPipeTimes& time : times) {
      complete = complete && pipe != nullptr &&
                 std::fscanf(pipe.get(), "%lf %lf %d", &time.ms, &time.wall_ms, &time.faces) == 3;
    }
  }
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  if (!complete) return std::nullopt;
  return times;
}

absl::Status Run(const Flags& flags, Report& report) {
  const std::string path = flags.video.empty() ? FindDemoFile("driving.mp4") : flags.video;
  if (path.empty()) return absl::InvalidArgumentError("--video: name a video, there is no demo's");
  const auto bytes = ReadFileBytes("--video", path);
  if (!bytes.ok()) return bytes.status();
  const auto frames = ReadFrames(*bytes, flags.frames);
  if (!frames.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--video: ", frames.status().message()));
  }
  std::vector<Image> images;
  for (const Image& frame : *frames) images.push_back(CentreSquare(frame, flags.size));

  auto models = ReadFaceModels(FaceModelsFolder(flags.models), "", {});
  if (!models.ok()) {
    return absl::NotFoundError(absl::StrCat("--models: ", models.status().message()));
  }
  FaceLandmarker::Options options;
  options.detector = std::move(models->detector);
  options.landmark_model = std::move(models->landmark_model);
  auto landmarker = FaceLandmarker::Create(std::move(options));
  if (!landmarker.ok()) return landmarker.status();

  std::array<double, 2> ours = {};
  for (const bool tracking : {true, false}) {
    std::vector<double> times;
    int faces = 0;
    // The first call touches memory for the first time.
    if (auto first = (*landmarker)->Detect(images.front()); !first.ok()) return first.status();
    (*landmarker)->Reset();
    const Stopwatch whole;
    for (const Image& image : images) {
      const Stopwatch watch;
      const auto face = tracking ? (*landmarker)->Track(image) : (*landmarker)->Detect(image);
      if (!face.ok()) return face.status();
      times.push_back(1000 * watch.elapsed().cpu);
      faces += face->has_value() ? 1 : 0;
    }
    double sum = 0;
    for (const double time : times) sum += time;
    const double mean = sum / static_cast<double>(times.size());
    ours[tracking ? 0 : 1] = mean;
    Json json;
    json["bench"] = "landmarks";
    json["what"] = tracking ? "tracking" : "detector and landmarks on every frame";
    json["size"] = absl::StrCat(flags.size, "x", flags.size);
    json["frames"] = times.size();
    json["faces"] = faces;
    json["ms_per_frame"] = Number(mean, 4);
    json["ms_median"] = Number(Median(times), 4);
    json["ms_p95"] = Number(Percentile(times, 95), 4);
    json["wall_ms_per_frame"] =
        Number(1000 * whole.elapsed().wall / static_cast<double>(times.size()), 4);
    json["clock"] = "cpu";
    report.Add(json);
  }
  if (flags.no_mediapipe) return absl::OkStatus();
  const auto theirs = RunMediaPipe(flags.python, images, flags.size);
  if (!theirs.has_value()) {
    std::cerr << "reenact-bench: MediaPipe's own time is left out: " << flags.python
              << " cannot import mediapipe (--python names another)" << std::endl;
    return absl::OkStatus();
  }
  for (size_t i = 0; i < theirs->size(); ++i) {
    const MediaPipeTimes& time = (*theirs)[i];
    Json json;
    json["bench"] = "landmarks";
    json["what"] = i == 0 ? "MediaPipe, tracking" : "MediaPipe, static images";
    json["size"] = absl::StrCat(flags.size, "x", flags.size);
    json["frames"] = images.size();
    json["faces"] = time.faces;
    json["ms_per_frame"] = Number(time.ms, 4);
    json["wall_ms_per_frame"] = Number(time.wall_ms, 4);
    json["clock"] = "cpu";
    // How many times as long ours takes.
    json["times_mediapipe"] = Number(ours[i] / time.ms, 4);
    report.Add(json);
  }
  return absl::OkStatus();
}

}  // namespace

void AddLandmarks(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command =
      app.add_subcommand("landmarks", "Face landmarks, milliseconds a frame on one thread");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--video", flags->video, "A video of a face. Default: the demo's")
      ->type_name("FILE");
  command->add_option("--models", flags->models, "Folder of the landmark models")
      ->type_name("FOLDER");
  command->add_option("--frames", flags->frames, "Frames at most")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->add_option("--size", flags->size, "Side of the pictures in pixels, the middle square")
      ->check(CLI::Range(64, 4096))
      ->capture_default_str();
  command->add_option("--python", flags->python, "Python that may have mediapipe")
      ->capture_default_str();
  command->add_flag("--no-mediapipe", flags->no_mediapipe, "Do not look for MediaPipe");
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
