#include "pipeline/reenactor/model.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "pipeline/engine/landmark_tensors.h"
#include "pipeline/engine/sha256.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/tflite_model.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/models/cpu_vae_decoder.h"
#include "pipeline/models/device.h"
#include "pipeline/reenactor/face_selection.h"
#include "pipeline/reenactor/guard.h"
#include "pipeline/reenactor/job_request.h"
#include "pipeline/reenactor/source_embedding.h"

namespace reenact {
namespace {

// Real steps timed when a model is loaded, the first of which also warms up; fewer if they are
// long.
constexpr int kCalibrationSteps = 3;
constexpr absl::Duration kLongStep = absl::Seconds(2);

// How thoroughly faces are looked for in a source (FaceLandmarker::Search), and the most found.
constexpr int kSourceSearchDepth = 1;
constexpr int kMaxSourceFaces = 64;

// Largest picture that faces are put back into: 4K.
constexpr int64_t kMaxWholePixels = int64_t{4096} * 2304;

// The faces of the request that the first source's picture or video shows.
std::vector<size_t> FacesOfFirstPicture(const JobRequest& request) {
  std::vector<size_t> faces = {0};
  for (size_t face = 1; face < NumFaces(request); ++face) {
    if (SharesPicture(request, face)) faces.push_back(face);
  }
  return faces;
}

absl::Status Prefixed(absl::string_view prefix, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(prefix, status.message()));
}

// [H, W, 3] uint8, contiguous.
Image BytesToImage(const torch::Tensor& bytes) {
  Image image;
  image.height = static_cast<int>(bytes.size(0));
  image.width = static_cast<int>(bytes.size(1));
  const auto* data = bytes.data_ptr<uint8_t>();
  image.rgb.assign(data, data + bytes.numel());
  return image;
}

ExecutorDtype DtypeOf(const ReenactorOptions& options) {
  return options.precision == ReenactorOptions::Precision::kBfloat16 ? ExecutorDtype::kBfloat16
                                                                     : ExecutorDtype::kFloat32;
}

// On a CPU rows are computed one by one, so that a job's bytes do not depend on what runs beside
// it; on a GPU together, which takes far less time and rounds differently with the number of rows.
absl::StatusOr<std::unique_ptr<RowExecutor>> MakeExecutor(const SDiT& sdit, torch::Device device,
                                                          const ReenactorOptions& options) {
  RowExecutor::Options how = {.dtype = DtypeOf(options), .deterministic = true};
  if (device.is_cuda()) {
    how.deterministic = false;
    how.device = device;
    how.traces_on_host = options.max_trace_bytes > FreeCudaMemory(device) / 2;
    how.max_graphs = options.max_cuda_graphs;
    return MakeTorchExecutor(sdit, how);
  }
  auto executor = MakeCpuExecutor(sdit, how);
  return absl::IsUnimplemented(executor.status()) ? MakeTorchExecutor(sdit, how)
                                                  : std::move(executor);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> Model::Load(const std::string& folder,
                                                   const ReenactorOptions& options) {
  auto bundle = ReadBundle(folder);
  if (!bundle.ok()) return bundle.status();
  const BundleConfig& config = bundle->config;
  auto face_models = ReadFaceModels(FaceModelsFolder(options.face_models), folder,
                                    {config.landmark_detector, config.landmark_model});
  if (!face_models.ok()) return face_models.status();

  std::unique_ptr<Model> model(new Model());
  model->face_models_ = *std::move(face_models);
  model->landmark_model_sha256_ = Sha256Hex(model->face_models_.landmark_model);
  ModelInfo& info = model->info_;
  info.name = config.name;
  info.bundle_sha256 = bundle->sha256;
  info.licence = config.licence;
  info.image_size = static_cast<int>(config.image_size);
  info.frames_per_row = static_cast<int>(config.frames_per_row);
  info.samplers = {Sampler::kDdim, Sampler::kDdpm, Sampler::kDpmSolverPp};
  info.default_sampler = config.default_sampler;
  info.default_num_steps = config.default_num_steps;
  info.max_num_steps = config.max_num_steps;
  info.default_guidance_scale = config.default_guidance_scale;
  info.accepts_image = true;
  info.accepts_text = config.accepts_text;
  info.max_driving_bytes = options.max_driving_bytes;
  info.max_frames = options.max_frames;
  info.max_image_pixels = options.max_image_pixels;
  info.max_output_size = std::max(options.max_output_size, info.image_size);
  model->bundle_ = *std::move(bundle);

  if (auto status = model->PlaceNetworks(options); !status.ok()) return status;

  // A face model that cannot be used should fail here, not in the first job.
  if (auto landmarker = model->NewFaceLandmarker(); !landmarker.ok()) return landmarker.status();
  if (auto shapes = model->NewFaceBlendshapes(); !shapes.ok()) return shapes.status();
  return model;
}

absl::Status Model::PlaceNetworks(const ReenactorOptions& options) {
  const auto device = FindDevice(options.device);
  if (!device.ok()) return device.status();
  info_.device = DescribeDevice(*device);
  auto executor = MakeExecutor(bundle_.sdit, *device, options);
  if (!executor.ok()) return executor.status();
  executor_ = *std::move(executor);
  bundle_.ReleasePages();
  if (device->is_cuda()) {
    auto decoder = MakeTorchVaeDecoder(bundle_.autoencoder, DtypeOf(options), *device);
    if (!decoder.ok()) return decoder.status();
    decoder_ = *std::move(decoder);
  } else {
    decoder_ = MakeCpuVaeDecoder(bundle_.autoencoder, DtypeOf(options));
  }
  // Both have their own copies now.
  bundle_.ReleasePages();
  // As many rows as can be computed side by side.
  Calibrate(device->is_cuda() ? options.max_active_rows : std::max(at::get_num_threads(), 1));
  return absl::OkStatus();
}

void Model::Calibrate(int num_rows) {
  const SDiTConfig& config = executor_->config();
  const int64_t T = config.num_frames, S = config.tokens_side() * config.tokens_side();
  ExecutorRow row;
  row.x = torch::zeros({T, config.latent_channels, config.latent_size, config.latent_size});
  row.C = torch::zeros({T, config.hidden_size});
  if (config.landmark_map) {
    row.extra = executor_->EmbedMaps(torch::zeros({T, S, config.landmark_map_channels()}));
  }
  const std::vector<ExecutorRow> rows(static_cast<size_t>(num_rows), row);
  absl::Duration fastest = absl::InfiniteDuration();
  for (int i = 0; i < kCalibrationSteps; ++i) {
    const absl::Time start = absl::Now();
    executor_->Forward(rows);
    fastest = std::min(fastest, absl::Now() - start);
    if (fastest > kLongStep) break;
  }
  info_.gflop_per_second = RowGflop(config, T) * static_cast<double>(rows.size()) /
                           std::max(absl::ToDoubleSeconds(fastest), 1e-9);
}

absl::StatusOr<std::unique_ptr<FaceLandmarker>> Model::NewFaceLandmarker() const {
  FaceLandmarker::Options options;
  options.detector = face_models_.detector;
  options.landmark_model = face_models_.landmark_model;
  auto landmarker = FaceLandmarker::Create(std::move(options));
  if (!landmarker.ok()) return Prefixed("face model: ", landmarker.status());
  return landmarker;
}

absl::StatusOr<std::optional<FaceBlendshapes>> Model::NewFaceBlendshapes() const {
  for (const std::string* file : {&face_models_.landmark_model, &face_models_.blendshapes}) {
    // The landmark model counts only if it is a bundle.
    if (file->empty() || (file == &face_models_.landmark_model && LooksLikeTflite(*file))) continue;
    auto shapes = FaceBlendshapes::Create(*file);
    if (absl::IsNotFound(shapes.status())) continue;
    if (!shapes.ok()) return Prefixed("face model: ", shapes.status());
    return std::optional<FaceBlendshapes>(*std::move(shapes));
  }
  return std::optional<FaceBlendshapes>();
}

absl::Status Model::CropSources(const JobRequest& request, const std::vector<size_t>& faces,
                                FaceLandmarker& landmarker, std::vector<EmbeddedSource>* sources,
                                std::vector<Image>* crops) const {
  const size_t owner = faces[0];
  EmbeddedSource& first = (*sources)[owner];
  const std::string picture = absl::StrCat(FieldOf(owner, "source"), " image");
  absl::Time start = absl::Now();
  ImageLimits limits;
  limits.max_pixels = info_.max_image_pixels;
  auto image = DecodeImage(SourceOf(request, owner).image, limits);
  if (!image.ok()) return Prefixed(absl::StrCat(picture, ": "), image.status());
  first.decode_time = absl::Now() - start;

  start = absl::Now();
  std::vector<FaceChoice> choices;
  for (const size_t face : faces) {
    auto choice = ToFaceChoice(SourceOf(request, face).face, FieldOf(face, "source.face"),
                               landmarker, info_.max_image_pixels);
    if (!choice.ok()) return choice.status();
    choices.push_back(*std::move(choice));
  }
  const auto found = FindFaces(landmarker, *image, kSourceSearchDepth, kMaxSourceFaces);
  if (!found.ok()) return Prefixed(absl::StrCat(picture, ": "), found.status());
  if (found->empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no face found in the ", picture, ": it must show a face, upright and not too small"));
  }
  const auto chosen = ChooseFaces(*found, choices, image->width, image->height);
  for (size_t i = 0; i < faces.size(); ++i) {
    if (!chosen[i].has_value()) {
      return absl::FailedPreconditionError(absl::StrCat(FieldOf(faces[i], "source.face"),
                                                        " fits none of the ", found->size(),
                                                        " faces found in the ", picture));
    }
    EmbeddedSource& source = (*sources)[faces[i]];
    if (const std::string note =
            ChoiceNote(absl::StrCat("the ", picture), found->size(), choices[i], *chosen[i]);
        !note.empty()) {
      source.notes.push_back(absl::StrCat(PrefixOf(request, faces[i], "source"), note));
    }
    const Landmarks& landmarks = (*found)[*chosen[i]].result.landmarks;
    source.box = FaceCrop({landmarks}, image->width, image->height);
    source.landmarks = ToCrop(landmarks, source.box, image->width, image->height);
    (*crops)[faces[i]] = CropImage(*image, source.box, info_.image_size);
  }
  if (request.composition == Composition::kPasteBack) first.picture = *std::move(image);
  first.landmark_time = absl::Now() - start;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SourceVideo>> Model::OpenSourceVideo(
    const JobRequest& request) const {
  auto landmarker = NewFaceLandmarker();
  if (!landmarker.ok()) return landmarker.status();
  SourceVideo::Options options;
  options.limits.max_pixels = info_.max_image_pixels;
  options.limits.max_frames = info_.max_frames;
  options.faces.clear();
  for (const size_t face : FacesOfFirstPicture(request)) {
    auto choice = ToFaceChoice(SourceOf(request, face).face, FieldOf(face, "source.face"),
                               **landmarker, info_.max_image_pixels);
    if (!choice.ok()) return choice.status();
    options.faces.push_back(*std::move(choice));
  }
  options.keeps_places = request.composition == Composition::kPasteBack;
  if (options.keeps_places) {
    options.limits.max_pixels = std::min(options.limits.max_pixels, kMaxWholePixels);
  }
  auto video = SourceVideo::Open(request.source.video, options, *std::move(landmarker));
  if (!video.ok()) return Prefixed("source.video: ", video.status());
  return video;
}

absl::Status Model::CropSourceVideo(const JobRequest& request, const std::vector<size_t>& faces,
                                    SourceVideo& video, std::vector<EmbeddedSource>* sources,
                                    std::vector<Image>* crops) const {
  std::vector<CropBox> boxes;
  for (size_t i = 0; i < faces.size(); ++i) {
    const auto& best = video.best(i);
    if (!best.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrCat("source.video: no face found",
                       faces.size() == 1 ? "" : absl::StrCat(" for ", FieldOf(faces[i], "source")),
                       ": some frame must show it, upright and not too small"));
    }
    EmbeddedSource& source = (*sources)[faces[i]];
    const Image& image = best->image;
    source.box = FaceCrop({best->landmarks}, image.width, image.height);
    source.landmarks = ToCrop(best->landmarks, source.box, image.width, image.height);
    (*crops)[faces[i]] = CropImage(image, source.box, info_.image_size);
    boxes.push_back(source.box);
  }
  EmbeddedSource& first = (*sources)[faces[0]];
  if (request.composition == Composition::kPasteBack) first.clip = video.TakeClip(boxes);
  first.notes = video.Notes();
  first.decode_time = video.decode_time();
  first.landmark_time = video.landmark_time();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<EmbeddedSource>> Model::EmbedSources(const JobRequest& request,
                                                                FaceLandmarker& landmarker,
                                                                SourceVideo* video) const {
  const size_t num_faces = NumFaces(request);
  std::vector<EmbeddedSource> sources(num_faces);
  std::vector<Image> crops(num_faces);
  for (size_t owner = 0; owner < num_faces; ++owner) {
    const bool has_video = owner == 0 && video != nullptr;
    if (!has_video && !SourceOf(request, owner).has_picture()) continue;
    const std::vector<size_t> faces =
        owner == 0 ? FacesOfFirstPicture(request) : std::vector<size_t>{owner};
    const absl::Status status = has_video
                                    ? CropSourceVideo(request, faces, *video, &sources, &crops)
                                    : CropSources(request, faces, landmarker, &sources, &crops);
    if (!status.ok()) return status;
  }
  for (size_t face = 0; face < num_faces; ++face) {
    const absl::Time start = absl::Now();
    EmbeddedSource& source = sources[face];
    auto identity = EmbedIdentity(bundle_, SourceOf(request, face), crops[face]);
    if (!identity.ok()) return Prefixed(PrefixOf(request, face, "source"), identity.status());
    source.G = std::move(identity->G);
    source.latent = std::move(identity->latent);
    for (const std::string& note : identity->notes) {
      source.notes.push_back(absl::StrCat(PrefixOf(request, face, "source"), note));
    }
    source.embed_time = absl::Now() - start;
  }
  // A job needs the towers once: not a second CLIP in memory for as long as it runs.
  bundle_.ReleasePages();
  return sources;
}

absl::StatusOr<Conditions> Model::MakeConditions(const EmbeddedSource& source,
                                                 LandmarkSource landmarks, bool guided) const {
  Conditions conditions;
  const absl::Status status = CatchErrors("mapping the landmarks", [&]() -> absl::Status {
    c10::InferenceMode inference;
    const SDiTConfig& config = bundle_.config.sdit;
    const auto map = [this](const torch::Tensor& G, const torch::Tensor& L) {
      SDiT sdit = bundle_.sdit;
      return sdit->map(G.unsqueeze(0), L.unsqueeze(0))[0];  // one row: [n, D]
    };
    if (source.latent.has_value()) {
      conditions.source_latent = source.latent;
      conditions.source_C = map(source.G, LandmarkTensor({*source.landmarks}))[0];
      if (config.landmark_map) {
        conditions.source_landmark_map = LandmarkMapTensor(*source.landmarks, config);
      }
    }
    conditions.frames = [this, map, guided, G = source.G,
                         landmarks = std::move(landmarks)](absl::Span<const int64_t> frames) {
      c10::InferenceMode inside;
      const std::vector<Landmarks> of_frames = landmarks(frames);
      const torch::Tensor L = LandmarkTensor(of_frames);
      SDiT sdit = bundle_.sdit;
      FrameConditions result;
      result.C = map(G, L);
      if (guided) result.C_dropped = map(sdit->null_identity(), L);
      const SDiTConfig& network = bundle_.config.sdit;
      if (network.landmark_map) {
        std::vector<torch::Tensor> maps;
        for (const Landmarks& face : of_frames) maps.push_back(LandmarkMapTensor(face, network));
        result.landmark_map = torch::stack(maps);
      }
      return result;
    };
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return conditions;
}

absl::StatusOr<Image> Model::Decode(const torch::Tensor& latent) const {
  return CatchErrors("decoding a frame", [&]() -> absl::StatusOr<Image> {
    c10::InferenceMode inference;
    const torch::Tensor scaled = latent.unsqueeze(0) / bundle_.config.autoencoder.scaling_factor;
    return BytesToImage(decoder_->DecodeToBytes(scaled)[0]);
  });
}

}  // namespace reenact
