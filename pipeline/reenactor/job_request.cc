#include "pipeline/reenactor/job_request.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "pipeline/anchored/clip_plan.h"
#include "pipeline/compose/paste_back_options.h"
#include "pipeline/media/video_encoding.h"

namespace reenact {
namespace {

constexpr size_t kMaxFurtherFaces = 3;
constexpr int kMinOutputSize = 16;
constexpr double kMaxGuidanceScale = 20;

template <typename T>
absl::Status CheckRange(absl::string_view field, T value, T min, T max) {
  if (value >= min && value <= max) return absl::OkStatus();  // NaN fails
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be ", min, "..", max, ", is ", value));
}

// `prefix`: what stands before the names of its fields.
absl::Status CheckSource(const SourceRequest& source, absl::string_view prefix,
                         const ModelInfo& info) {
  if (!source.text.empty() && !info.accepts_text) {
    return absl::InvalidArgumentError(
        absl::StrCat(prefix, "text: model ", info.name, " does not take a text as source"));
  }
  if (!source.video.empty() && !source.image.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(prefix, "video is set, must be unset beside ", prefix, "image"));
  }
  const bool edits = !source.edit_from.empty() || !source.edit_to.empty();
  if (edits && (!source.has_picture() || !source.text.empty() || source.edit_from.empty() ||
                source.edit_to.empty())) {
    return absl::InvalidArgumentError(
        absl::StrCat(prefix, "edit needs a picture, both texts, and no ", prefix, "text"));
  }
  return CheckRange(absl::StrCat(prefix, "edit_strength"), source.edit_strength, 0.0, 1.0);
}

// Whether both can only mean the same face. Choices of other kinds take turns (ChooseFaces).
bool AreOne(const FaceSelection& a, const FaceSelection& b) {
  return a.by == FaceSelection::By::kIndex && b.by == FaceSelection::By::kIndex &&
         a.index == b.index;
}

absl::Status BothAre(size_t face, size_t other, absl::string_view field, int index) {
  return absl::InvalidArgumentError(absl::StrCat(FieldOf(face, field), ".index is ", index,
                                                 ", must not be that of ", FieldOf(other, field)));
}

// Pairs beyond the first.
absl::Status CheckFurtherFaces(const JobRequest& request, const ModelInfo& info) {
  if (request.further_faces.size() > kMaxFurtherFaces) {
    return absl::InvalidArgumentError(
        absl::StrCat("further_faces has ", request.further_faces.size(),
                     " entries, must have at most ", kMaxFurtherFaces));
  }
  if (!request.further_faces.empty() && request.live.has_value()) {
    return absl::InvalidArgumentError("further_faces is set, must be empty in a live job");
  }
  for (size_t face = 1; face < NumFaces(request); ++face) {
    const SourceRequest& source = SourceOf(request, face);
    const std::string field = FieldOf(face, "source");
    if (!source.video.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ".video is set, must be unset: only source may be a video"));
    }
    if (SharesPicture(request, face)) {
      if (!request.source.has_picture()) {
        return absl::InvalidArgumentError(
            absl::StrCat(field, " is empty, must have a picture or a text: source has no picture"));
      }
    } else if (request.composition == Composition::kPasteBack) {
      return absl::InvalidArgumentError(
          absl::StrCat(field,
                       " has a picture or a text, must have only a face with the composition "
                       "paste_back"));
    }
    if (!source.video.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ".video is set, must be unset: only the first source may have one"));
    }
    if (auto status = CheckSource(source, absl::StrCat(field, "."), info); !status.ok())
      return status;
    for (size_t other = 0; other < face; ++other) {
      if (AreOne(DriverFaceOf(request, face), DriverFaceOf(request, other))) {
        return BothAre(face, other, "driver_face", DriverFaceOf(request, face).index);
      }
      if (SharesPicture(request, face) && (other == 0 || SharesPicture(request, other)) &&
          AreOne(source.face, SourceOf(request, other).face)) {
        return BothAre(face, other, "source.face", source.face.index);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

size_t NumFaces(const JobRequest& request) { return 1 + request.further_faces.size(); }

const SourceRequest& SourceOf(const JobRequest& request, size_t face) {
  return face == 0 ? request.source : request.further_faces[face - 1].source;
}

const FaceSelection& DriverFaceOf(const JobRequest& request, size_t face) {
  return face == 0 ? request.driver_face : request.further_faces[face - 1].driver_face;
}

bool SharesPicture(const JobRequest& request, size_t face) {
  const SourceRequest& source = SourceOf(request, face);
  return face > 0 && !source.has_picture() && source.text.empty();
}

std::string FieldOf(size_t face, absl::string_view field) {
  return face == 0 ? std::string(field) : absl::StrCat("further_faces[", face - 1, "].", field);
}

std::string PrefixOf(const JobRequest& request, size_t face, absl::string_view field) {
  return NumFaces(request) == 1 ? "" : absl::StrCat(FieldOf(face, field), ": ");
}

absl::Status CheckRequest(const JobRequest& request, const ModelInfo& info) {
  if (auto status = CheckSource(request.source, "source.", info); !status.ok()) return status;
  if (!request.source.has_picture() && request.source.text.empty()) {
    return absl::InvalidArgumentError("no source: give an image, a text, or both");
  }
  if (auto status = CheckFurtherFaces(request, info); !status.ok()) return status;
  if (request.composition == Composition::kPasteBack) {
    if (!request.source.has_picture()) {
      return absl::InvalidArgumentError(
          "composition is paste_back, must be crop without a source image or video");
    }
    if (request.output_size.has_value()) {
      return absl::InvalidArgumentError(
          "output_size is given, must not be with the composition paste_back, whose pictures have "
          "the source's size");
    }
  }
  if (request.live.has_value()) {
    if (request.plan != SequencePlan::kContiguous) {
      return absl::InvalidArgumentError("live driving needs the sequence plan contiguous");
    }
    for (const absl::Status& status :
         {CheckRange("live.time_base.numerator", request.live->time_base_num, 1, INT32_MAX),
          CheckRange("live.time_base.denominator", request.live->time_base_den, 1, INT32_MAX)}) {
      if (!status.ok()) return status;
    }
  }
  if (request.matte == Matte::kAlpha && request.format != OutputFormat::kPng &&
      request.format != OutputFormat::kRawRgb) {
    return absl::InvalidArgumentError("matte is alpha, must be below or none without PNG or raw");
  }
  if (auto status = CheckLongVideo(request, info.frames_per_row); !status.ok()) return status;
  // The first step count that has a posterior variance to borrow is 2 (schedule.h).
  for (const absl::Status& status :
       {CheckRange("num_steps", request.num_steps.value_or(info.default_num_steps), 2,
                   info.max_num_steps),
        CheckRange("ddim_eta", request.ddim_eta, 0.0, 1.0),
        CheckRange("guidance_scale", request.guidance_scale.value_or(info.default_guidance_scale),
                   0.0, kMaxGuidanceScale),
        CheckRange("output_size", request.output_size.value_or(info.image_size), kMinOutputSize,
                   info.max_output_size),
        CheckVideoEncoding(request.encoding), CheckPasteBackOptions(request.paste_back),
        CheckRange("jpeg_quality", request.jpeg_quality, 1, 100)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace reenact
