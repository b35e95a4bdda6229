// A request's pairs of faces, and whether the request is sound. Faces are numbered from 0: `source`
// and `driver_face`, then `further_faces` in their order. Pure functions.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "pipeline/types.h"

namespace reenact {

size_t NumFaces(const JobRequest& request);
const SourceRequest& SourceOf(const JobRequest& request, size_t face);
const FaceSelection& DriverFaceOf(const JobRequest& request, size_t face);

// Whether the face's source is another face of the first one's picture.
bool SharesPicture(const JobRequest& request, size_t face);

// `field` of that pair for messages, such as "driver_face" or "further_faces[0].driver_face".
std::string FieldOf(size_t face, absl::string_view field);
// The same and a colon, before what is told of one of several faces; empty if there is only one.
std::string PrefixOf(const JobRequest& request, size_t face, absl::string_view field);

// kInvalidArgument naming the field, its value and its range.
absl::Status CheckRequest(const JobRequest& request, const ModelInfo& info);

}  // namespace reenact
