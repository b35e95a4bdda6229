// ZIP archives for tests of those who read them.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace reenact::testing {

// The low `count` bytes of `value`, little-endian.
inline void Append(std::string& bytes, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(i < 8 ? value >> 8 * i : 0);
}

struct ZipEntry {
  std::string name, text;
  bool deflated = false;
  uint16_t flags = 0;
  std::string local_extra = {};  // padding that only the local header has
};

// Without zlib's header.
inline std::string Deflate(const std::string& text) {
  z_stream stream = {};
  if (deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
  std::string out(text.size() + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) abort();
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// An archive by PKWARE's APPNOTE. With `zip64`, sizes and offsets are in the ZIP64 fields and
// records alone. `claimed_size`: that of every unpacked entry, if not 0. `prefix` goes before
// it all.
inline std::string ZipArchive(const std::vector<ZipEntry>& entries, bool zip64 = false,
                              uint64_t claimed_size = 0, const std::string& prefix = {}) {
  std::string bytes = prefix, directory;
  for (const ZipEntry& entry : entries) {
    const std::string data = entry.deflated ? Deflate(entry.text) : entry.text;
    const uint64_t size = claimed_size > 0 ? claimed_size : entry.text.size();
    std::string header;
    Append(header, 45, 2);
    Append(header, entry.flags, 2);
    Append(header, entry.deflated ? 8 : 0, 2);
    Append(header, 0, 4);
    Append(header,
           crc32(0, reinterpret_cast<const Bytef*>(entry.text.data()),
                 static_cast<uInt>(entry.text.size())),
           4);
    Append(header, zip64 ? 0xFFFFFFFF : data.size(), 4);
    Append(header, zip64 ? 0xFFFFFFFF : size, 4);
    Append(header, entry.name.size(), 2);
    std::string extra;
    if (zip64) {
      Append(extra, 0x4246, 2);  // somebody's field before ours
      Append(extra, 2, 2);
      Append(extra, 0, 2);
      Append(extra, 1, 2);
      Append(extra, 24, 2);
      Append(extra, size, 8);
      Append(extra, data.size(), 8);
      Append(extra, bytes.size(), 8);
    }
    directory += "PK\x01\x02";
    Append(directory, 45, 2);
    directory += header;
    Append(directory, extra.size(), 2);
    Append(directory, 0, 10);
    Append(directory, zip64 ? 0xFFFFFFFF : bytes.size(), 4);
    directory += entry.name + extra;
    bytes += "PK\x03\x04" + header;
    Append(bytes, entry.local_extra.size(), 2);
    bytes += entry.name + entry.local_extra + data;
  }
  const size_t start = bytes.size();
  bytes += directory;
  if (zip64) {
    const size_t record = bytes.size();
    bytes += "PK\x06\x06";
    Append(bytes, 44, 8);
    Append(bytes, 45, 2);
    Append(bytes, 45, 2);
    Append(bytes, 0, 8);
    Append(bytes, entries.size(), 8);
    Append(bytes, entries.size(), 8);
    Append(bytes, directory.size(), 8);
    Append(bytes, start, 8);
    bytes += "PK\x06\x07";
    Append(bytes, 0, 4);
    Append(bytes, record, 8);
    Append(bytes, 1, 4);
  }
  bytes += "PK\x05\x06";
  Append(bytes, 0, 4);
  Append(bytes, zip64 ? 0xFFFF : entries.size(), 2);
  Append(bytes, zip64 ? 0xFFFF : entries.size(), 2);
  Append(bytes, zip64 ? 0xFFFFFFFF : directory.size(), 4);
  Append(bytes, zip64 ? 0xFFFFFFFF : start, 4);
  Append(bytes, 0, 2);
  return bytes;
}

}  // namespace reenact::testing
