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

// What an MP4/MOV index claims that cannot be: a million or more samples of one size that together
// have many times the file's bytes. Such an index costs 12 bytes and would take gigabytes in
// memory. As the end of a sentence, or "". Reads only headers. Thread-safe.
std::string FindImpossibleIndex(std::string_view bytes);

}  // namespace reenact
