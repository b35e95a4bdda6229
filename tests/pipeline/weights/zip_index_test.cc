#include "pipeline/weights/zip_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/support/zip_builder.h"

namespace reenact {
namespace {

using ::testing::HasSubstr;
using testing::ZipArchive;

std::string Refusal(const std::string& archive) {
  const auto index = IndexZip(archive);
  EXPECT_EQ(index.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(index.status().message());
}

TEST(ZipIndexTest, FindsEntriesWhereTheirLocalHeaderSays) {
  for (const bool zip64 : {false, true}) {
    const std::string archive =
        ZipArchive({{.name = "m/", .text = ""},
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
    const std::string archive = ZipArchive({{.name = "a", .text = "text"}}, zip64);
    for (size_t size = 0; size < archive.size(); ++size) {
      EXPECT_FALSE(IndexZip(archive.substr(0, size)).ok()) << size;
    }
  }
}

TEST(ZipIndexTest, RefusesWhatIsNotOneReadableFile) {
  EXPECT_THAT(Refusal(ZipArchive({{.name = "a", .text = "1"}, {.name = "a", .text = "2"}})),
              HasSubstr("a occurs twice"));
  EXPECT_THAT(Refusal(ZipArchive({{.name = "a", .text = "1", .flags = 1}})),
              HasSubstr("encrypted"));
  EXPECT_THAT(Refusal(ZipArchive({{.name = "a", .text = "1"}}, false, 2)), HasSubstr("two sizes"));
  EXPECT_THAT(Refusal("no archive at all, but long enough to hold an end record"),
              HasSubstr("no directory"));
  std::string split = ZipArchive({{.name = "a", .text = "1"}});
  split[split.size() - 18] = 1;
  EXPECT_THAT(Refusal(split), HasSubstr("split"));
}

TEST(ZipIndexTest, FalseSizesAndChecksumsAreFound) {
  // 64 MiB out of 14 bytes would be more than deflate can do: nothing is allocated.
  const std::string bomb =
      ZipArchive({{.name = "a", .text = "0123456789", .deflated = true}}, true, uint64_t{1} << 26);
  const auto index = IndexZip(bomb);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(UnpackZipEntry(index->at("a"), uint64_t{1} << 30).status().code(),
            absl::StatusCode::kInvalidArgument);

  std::string changed = ZipArchive({{.name = "a", .text = "0123456789"}});
  changed[changed.find("0123")] = 'x';
  const auto other = IndexZip(changed);
  ASSERT_TRUE(other.ok());
  EXPECT_THAT(std::string(UnpackZipEntry(other->at("a"), 100).status().message()),
              HasSubstr("checksum"));
}

}  // namespace
}  // namespace reenact
