#include "eval/journal.h"

#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/subprocess.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Journal::Settings kSettings = {{"bundle", "abc"}, {"noise seed", "1"}};

class JournalTest : public ::testing::Test {
 protected:
  void Begin(const std::vector<std::string>& lines) {
    auto journal = Journal::Open(path_, kSettings);
    ASSERT_TRUE(journal.ok()) << journal.status();
    ASSERT_TRUE(journal->Append(lines).ok());
  }
  void AddBytes(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::app) << bytes;
  }

  testing::TemporaryFolder folder_;
  const std::string path_ = folder_.File("clips.jsonl");
};

TEST_F(JournalTest, GivesBackWhatWasAppended) {
  Begin({"one", "two"});
  Begin({"three"});

  const auto journal = Journal::Open(path_, kSettings);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_THAT(journal->lines(), ElementsAre("one", "two", "three"));
}

TEST_F(JournalTest, CutsOffALineThatWasNotFinished) {
  Begin({"one"});
  AddBytes("tw");
  Begin({"two"});

  const auto journal = Journal::Open(path_, kSettings);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_THAT(journal->lines(), ElementsAre("one", "two"));
}

TEST_F(JournalTest, BeginsAnewAfterAnUnfinishedFirstLine) {
  Begin({});
  const std::string head = testing::ReadFile(path_);
  for (const size_t length : {size_t{0}, size_t{5}, head.size() - 1}) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << head.substr(0, length);

    const auto journal = Journal::Open(path_, kSettings);
    ASSERT_TRUE(journal.ok()) << journal.status();
    EXPECT_THAT(journal->lines(), IsEmpty());
    EXPECT_EQ(testing::ReadFile(path_), head) << length;
  }
}

TEST_F(JournalTest, RefusesOtherSettingsAndNamesTheFirst) {
  Begin({"one"});

  const auto journal = Journal::Open(path_, {{"bundle", "abc"}, {"noise seed", "2"}});
  EXPECT_TRUE(absl::IsInvalidArgument(journal.status())) << journal.status();
  EXPECT_THAT(journal.status().message(),
              AllOf(HasSubstr(path_), HasSubstr("noise seed was 1, is 2")));

  const auto unknown = Journal::Open(path_, {{"plan", "contiguous"}});
  EXPECT_THAT(unknown.status().message(), HasSubstr("plan was not said, is contiguous"));
  Begin({"two"});  // nothing was lost
  EXPECT_THAT(Journal::Open(path_, kSettings)->lines(), ElementsAre("one", "two"));
}

TEST_F(JournalTest, LeavesOtherFilesAlone) {
  for (const char* content : {"x", "some text\nof somebody\n", "{}\n", "[1]\n"}) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;

    const auto journal = Journal::Open(path_, kSettings);
    EXPECT_TRUE(absl::IsInvalidArgument(journal.status())) << content << journal.status();
    EXPECT_THAT(journal.status().message(), HasSubstr("not a journal"));
    EXPECT_EQ(testing::ReadFile(path_), content);
  }
}

TEST_F(JournalTest, IsOpenOnceAtATime) {
  auto journal = Journal::Open(path_, kSettings);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_TRUE(absl::IsFailedPrecondition(Journal::Open(path_, kSettings).status()));

  const Journal moved = *std::move(journal);  // keeps the lock
  EXPECT_TRUE(absl::IsFailedPrecondition(Journal::Open(path_, kSettings).status()));
}

TEST_F(JournalTest, SaysWhyItCannotBeWritten) {
  const auto nowhere = Journal::Open(folder_.File("no/such/file"), kSettings);
  EXPECT_TRUE(absl::IsUnavailable(nowhere.status())) << nowhere.status();
  EXPECT_THAT(nowhere.status().message(), HasSubstr("No such file"));
}

TEST_F(JournalTest, WhatDoesNotFitOnTheDiskLeavesNothing) {
  Begin({"one"});
  const std::string before = testing::ReadFile(path_);
  auto journal = Journal::Open(path_, kSettings);
  ASSERT_TRUE(journal.ok()) << journal.status();
  // As on a disk with room for ten more bytes.
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  rlimit small = limit;
  small.rlim_cur = before.size() + 10;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);

  const absl::Status status = journal->Append({"two", std::string(100, 'x')});

  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr(path_), HasSubstr("File too large")));
  EXPECT_EQ(testing::ReadFile(path_), before);
  EXPECT_TRUE(journal->Append({"two"}).ok());
  EXPECT_EQ(testing::ReadFile(path_), before + "two\n");
}

TEST_F(JournalTest, WithoutAFileKeepsNothing) {
  Journal journal;
  EXPECT_TRUE(journal.Append({"one"}).ok());
  EXPECT_THAT(journal.lines(), IsEmpty());
}

}  // namespace
}  // namespace reenact
