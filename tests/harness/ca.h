/* SPDX-License-Identifier: Apache-2.0 */
/* An authority that signs nothing, for policies that must name one: as it stands within JSON or YAML quotes.
 */
#ifndef SL_TESTS_CA_H
#define SL_TESTS_CA_H

#define TEST_CA                                                           \
    "-----BEGIN CERTIFICATE-----\\n"                                      \
    "MIIBdjCCARugAwIBAgIUZrkHXfBUrO/FEquj5f0Evweav24wCgYIKoZIzj0EAwIw\\n" \
    "DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjkxMTAyNTFaGA8yMTI2MTEwNTExMDI1\\n" \
    "MVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHCC\\n" \
    "nELBB3JRyxkjTrfUJhM60aO0Hfj6zRG9IV0Su5NHHB9VEZ8BXiKYbsibzLXo979O\\n" \
    "F3e5/eSw97b1QLI6kNSjUzBRMB0GA1UdDgQWBBQiQGOjeUu6nQ4F4FlyoATiKc0q\\n" \
    "KDAfBgNVHSMEGDAWgBQiQGOjeUu6nQ4F4FlyoATiKc0qKDAPBgNVHRMBAf8EBTAD\\n" \
    "AQH/MAoGCCqGSM49BAMCA0kAMEYCIQDK7Us5RxlsZqusSvZ/NhBHt/mWAwb1Bxzf\\n" \
    "UhFE7n9faQIhAMSGZ6fP+hjroM4QYBsKMwPSIA9igKWGvijy8e2wSvNC\\n"         \
    "-----END CERTIFICATE-----\\n"

#endif
