#include "pipeline/reenactor/idle_threads.h"

#include <cstdlib>
#include <map>
#include <string>

#include "gtest/gtest.h"
#include "tests/client/subprocess.h"

namespace reenact {
namespace {

using testing::Subprocess;

// What the program printed. Its name is cut off by the system after 15 characters.
std::string Started(const std::map<std::string, std::string>& environment) {
  unsetenv("OMP_WAIT_POLICY");
  unsetenv("GOMP_SPINCOUNT");
  Subprocess process({REENACT_IDLE_THREADS_PROGRAM, "--a", "b c"}, environment);
  EXPECT_EQ(process.Wait(), 7);
  return process.out();
}

TEST(IdleThreadsTest, AProgramStartsAnewAsItselfWithItsArguments) {
  EXPECT_EQ(Started({}), "passive idle_threads_pr --a b c\n");
}

TEST(IdleThreadsTest, WhatTheUserSaysCounts) {
  EXPECT_EQ(Started({{"OMP_WAIT_POLICY", "active"}}), "active idle_threads_pr --a b c\n");
  EXPECT_EQ(Started({{"GOMP_SPINCOUNT", "1000"}}), "unset idle_threads_pr --a b c\n");
}

}  // namespace
}  // namespace reenact
