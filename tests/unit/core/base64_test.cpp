#include <keyshepherd/core/base64.hpp>

#include <gtest/gtest.h>

#include <string>

namespace keyshepherd {
namespace {

std::string encoded(std::string_view bytes) {
    std::string out;
    append_base64(out, bytes);
    return out;
}

// RFC 4648, section 10.
TEST(Base64, VectorsOfTheRfc) {
    EXPECT_EQ(encoded(""), "");
    EXPECT_EQ(encoded("f"), "Zg==");
    EXPECT_EQ(encoded("fo"), "Zm8=");
    EXPECT_EQ(encoded("foo"), "Zm9v");
    EXPECT_EQ(encoded("foob"), "Zm9vYg==");
    EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
    EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(Base64, HighBytesAndBothLastCharacters) {
    EXPECT_EQ(encoded("\xff\xff\xff"), "////");
    EXPECT_EQ(encoded("\xfb\xef\xbe"), "++++");
    EXPECT_EQ(encoded("\xff"), "/w==");
    EXPECT_EQ(encoded(std::string_view("\0\0", 2)), "AAA=");
}

TEST(Base64, Appends) {
    std::string out = "\"patch\":\"";
    append_base64(out, "f");
    append_base64(out, "foo");
    EXPECT_EQ(out, "\"patch\":\"Zg==Zm9v");
}

// A plain reading of the RFC, six bits at a time.
std::string by_the_book(std::string_view bytes) {
    const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bits, out;
    for (const char c : bytes)
        for (int bit = 7; bit >= 0; --bit)
            bits += (static_cast<unsigned char>(c) >> bit & 1) != 0 ? '1' : '0';
    while (bits.size() % 6 != 0) bits += '0';
    for (std::size_t i = 0; i < bits.size(); i += 6)
        out += alphabet[std::stoul(bits.substr(i, 6), nullptr, 2)];
    while (out.size() % 4 != 0) out += '=';
    return out;
}

TEST(Base64, EveryLengthAndEveryByte) {
    std::string bytes;
    for (int length = 0; length <= 300; ++length) {
        EXPECT_EQ(encoded(bytes), by_the_book(bytes)) << length;
        bytes += static_cast<char>(length * 89 + 7);
    }
}

TEST(Base64, IsReadAsGoReadsIt) {
    EXPECT_EQ(decode_base64("Zm9v\nYg==\r\n"), "foob");
    EXPECT_EQ(decode_base64(""), "");
    for (const char* wrong : {"Zm9", "Zm!v", "Zg=", "Zg===", "Z===", "=", "Zg==Zg==", "Zm9v Yg==", "Zg"})
        EXPECT_EQ(decode_base64(wrong), std::nullopt) << wrong;
    std::string bytes;
    for (int i = 0; i < 600; ++i) {
        EXPECT_EQ(decode_base64(encode_base64(bytes)), bytes);
        bytes += static_cast<char>(i * 7);
    }
}

}  // namespace
}  // namespace keyshepherd
