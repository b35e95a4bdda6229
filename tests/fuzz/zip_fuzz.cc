// ZIP archives (MediaPipe's .task bundles).
#include <zlib.h>

#include <cstdint>

#include "pipeline/face/zip.h"
#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {
namespace {

void Append(std::string& bytes, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> 8 * i);
}

std::string Deflate(const std::string& text) {
  z_stream stream = {};
  Require(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK,
          "zlib makes the seeds");
  std::string out(text.size() + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  Require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib makes the seeds");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// PKWARE's APPNOTE: local headers with data, the central directory, its end.
std::string Archive(const std::vector<std::pair<std::string, std::string>>& files, bool deflated) {
  std::string bytes;
  std::string directory;
  for (const auto& [name, text] : files) {
    const std::string data = deflated ? Deflate(text) : text;
    const auto crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
    std::string header;
    Append(header, 20, 2);
    Append(header, 0, 2);
    Append(header, deflated ? 8 : 0, 2);
    Append(header, 0, 4);
    Append(header, crc, 4);
    Append(header, data.size(), 4);
    Append(header, text.size(), 4);
    Append(header, name.size(), 2);
    Append(header, 0, 2);
    directory += "PK\x01\x02";
    Append(directory, 20, 2);
    directory += header;
    Append(directory, 0, 8);
    Append(directory, 0, 2);
    Append(directory, bytes.size(), 4);
    directory += name;
    bytes += "PK\x03\x04" + header + name + data;
  }
  const size_t start = bytes.size();
  bytes += directory + "PK\x05\x06";
  Append(bytes, 0, 4);
  Append(bytes, files.size(), 2);
  Append(bytes, files.size(), 2);
  Append(bytes, directory.size(), 4);
  Append(bytes, start, 4);
  Append(bytes, 0, 2);
  return bytes;
}

}  // namespace

std::vector<std::string> Seeds() {
  const std::string text(300, 'a');
  const std::vector<std::string> seeds = {Archive({{"a.txt", "some text"}, {"b", text}}, false),
                                          Archive({{"a.txt", "some text"}, {"b", text}}, true)};
  for (const std::string& seed : seeds) Require(ReadZip(seed).ok(), "the seeds are archives");
  return seeds;
}

void Run(std::string_view input) {
  LooksLikeZip(input);
  const auto files = ReadZip(input);
  if (!files.ok()) RequireRefusal(files.status());
}

}  // namespace reenact::fuzz
