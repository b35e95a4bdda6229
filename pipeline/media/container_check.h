// Whether a media file ends before its own structure says so. The demuxers read what is there and
// call it the end; a caller whose upload broke off must hear of it.
#pragma once

#include <string>
#include <string_view>

namespace reenact {

// Walks the outermost boxes, elements, chunks, tags or pages of MP4/MOV, Matroska/WebM, AVI, FLV,
// Ogg, GIF and MPEG-TS. Returns what is missing, as the end of a sentence ("the file is cut off:
// ..."), or "" if the structure is whole or the format is none of these. Reads only headers.
// Thread-safe.
std::string FindCutOff(std::string_view bytes);

}  // namespace reenact
