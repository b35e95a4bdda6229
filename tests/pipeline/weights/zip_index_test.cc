#include "pipeline/weights/zip_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace reenact {
namespace {

using ::testing::HasSubstr;

void Append(std::string& bytes, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(i < 8 ? value >> 8 * i : 0);
}

struct Entry {
  std::string name, text;
  bool deflated = false;
  uint16_t flags = 0;
  std::string local_extra = {};  // padding that only the local header has
};

std::string Deflate(const std::string& text) {
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// PKWARE's APPNOTE. With `zip64`, sizes and offsets are in the ZIP64 fields and records alone.
std::string Archive(const std::vector<Entry>& entries, bool zip64 = false,
                    uint64_t claimed_size = 0) {
  std::string bytes, directory;
  for (const Entry& entry : entries) {
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

std::string Refusal(const std::string& archive) {
  const auto index = IndexZip(archive);
  EXPECT_EQ(index.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(index.status().message());
}

TEST(ZipIndexTest, FindsEntriesWhereTheirLocalHeaderSays) {
  for (const bool zip64 : {false, true}) {
    const std::string archive =
        Archive({{.name = "m/", .text = ""},
                 {.name = "m/a", .text = "stored", .local_extra = std::string(40, '\0')},
                 {.name = "m/b", .text = std::string(5000, 'b'), .deflated = true}},
                zip64);
    const auto index = IndexZip(archive);
    ASSERT_TRUE(index.ok()) << index.status();
    ASSERT_EQ(index->size(), 2u) << "folders are left out";
    EXPECT_EQ(index->at("m/a").packed, "stored");
    EXPECT_EQ(*UnpackZipEntry(index->at("m/a"), 100), "stored");
    EXPECT_EQ(*UnpackZipEntry(index->at("m/b"), 5000), std::string(5000, 'b'));
    EXPECT_EQ(UnpackZipEntry(index->at("m/b"), 4999).status().code(),
              absl::StatusCode::kResourceExhausted);
  }
}

TEST(ZipIndexTest, EveryCutIsRefused) {
  for (const bool zip64 : {false, true}) {
    const std::string archive = Archive({{.name = "a", .text = "text"}}, zip64);
    for (size_t size = 0; size < archive.size(); ++size) {
      EXPECT_FALSE(IndexZip(archive.substr(0, size)).ok()) << size;
    }
  }
}

TEST(ZipIndexTest, RefusesWhatIsNotOneReadableFile) {
  EXPECT_THAT(Refusal(Archive({{.name = "a", .text = "1"}, {.name = "a", .text = "2"}})),
              HasSubstr("a occurs twice"));
  EXPECT_THAT(Refusal(Archive({{.name = "a", .text = "1", .flags = 1}})), HasSubstr("encrypted"));
  EXPECT_THAT(Refusal(Archive({{.name = "a", .text = "1"}}, false, 2)), HasSubstr("two sizes"));
  EXPECT_THAT(Refusal("no archive at all, but long enough to hold an end record"),
              HasSubstr("no directory"));
  std::string split = Archive({{.name = "a", .text = "1"}});
  split[split.size() - 18] = 1;
  EXPECT_THAT(Refusal(split), HasSubstr("split"));
}

TEST(ZipIndexTest, FalseSizesAndChecksumsAreFound) {
  // 64 MiB out of 14 bytes would be more than deflate can do: nothing is allocated.
  const std::string bomb =
      Archive({{.name = "a", .text = "0123456789", .deflated = true}}, true, uint64_t{1} << 26);
  const auto index = IndexZip(bomb);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(UnpackZipEntry(index->at("a"), uint64_t{1} << 30).status().code(),
            absl::StatusCode::kInvalidArgument);

  std::string changed = Archive({{.name = "a", .text = "0123456789"}});
  changed[changed.find("0123")] = 'x';
  const auto other = IndexZip(changed);
  ASSERT_TRUE(other.ok());
  EXPECT_THAT(std::string(UnpackZipEntry(other->at("a"), 100).status().message()),
              HasSubstr("checksum"));
}

}  // namespace
}  // namespace reenact
