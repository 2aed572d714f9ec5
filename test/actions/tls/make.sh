#!/bin/sh
# Makes the certificates of the tests, valid until 2126: sh make.sh, in this folder. Their keys protect nothing.
set -eu
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

authority() { # name
  key "$1"
  openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 36500 -out "$1.crt" \
    -addext basicConstraints=critical,CA:true -addext keyUsage=keyCertSign
}

leaf() { # name, authority, host, from, to
  key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
  mkdir ca && : >ca/index && echo 01 >ca/serial
  printf '[ca]\ndefault_ca=c\n[c]\ndatabase=ca/index\nserial=ca/serial\nnew_certs_dir=ca\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=%s\n' "$3" >ca/conf
  openssl ca -batch -notext -config ca/conf -cert "$2.crt" -keyfile "$2.key" -in "$1.csr" -out "$1.crt" -startdate "$4" -enddate "$5"
  rm -r ca "$1.csr"
}

here=DNS:receiver.test,IP:127.0.0.1
authority authority
authority stranger
leaf server authority "$here" 20200101000000Z 21260101000000Z
leaf expired authority "$here" 20200101000000Z 20210101000000Z
leaf wrong-host authority DNS:other.test 20200101000000Z 21260101000000Z
leaf client authority DNS:pg-observers.test 20200101000000Z 21260101000000Z
openssl ec -in client.key -aes256 -passout pass:open-sesame -out client-encrypted.key
