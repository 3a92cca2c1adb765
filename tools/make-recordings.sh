#!/bin/sh
# Speaks our own sentences into subscriber/recordings/ and writes the manifest. Needs flite, ffmpeg and ffprobe.
#
# flite's slt is the voice: Whisper tiny.en hears it without a mistake, so a wrong word in a test is our mistake.
# Sentences have no digits and no abbreviations, which a model may rightly spell in several ways.
set -eu
cd "$(dirname "$0")/../subscriber/recordings"
spoken=$(mktemp)
trap 'rm -f "$spoken"' EXIT

say() { # FILE, TEXT, encoder options
    file=$1 text=$2
    shift 2
    flite -voice slt -t "$text" -o "$spoken"
    ffmpeg -nostdin -loglevel error -y -i "$spoken" -map_metadata -1 -fflags +bitexact -flags:a +bitexact \
        -ar 16000 -ac 1 "$@" "$file"
    seconds=$(ffprobe -loglevel error -show_entries format=duration -of csv=p=0 "$spoken")
    printf '%s\n  {"file": "%s", "seconds": %.2f, "text": "%s"}' "$comma" "$file" "$seconds" "$text" >>manifest.json
    comma=,
}

comma=
printf '[' >manifest.json

say doorbell.wav "Good morning. Your parcel is waiting at the front desk, and the desk closes at noon." \
    -c:a pcm_s16le

say garden.flac "We planted the beans in the second week of spring. \
The rain came early this year, and the slugs came with it. \
Next time we will cover the young plants at night." \
    -c:a flac -sample_fmt s16 -compression_level 12

say weather.mp3 "Here is the weather for the coast. \
The fog will be gone by breakfast, and the afternoon will be bright with a light wind from the west. \
Small boats should come home before dark, because the wind will turn and the waves will grow." \
    -c:a libmp3lame -b:a 32k

say lecture.ogg "Today I want to talk about bread. \
People have baked it for thousands of years, and the list of things you need is still very short. \
You need flour, water, salt, and time. \
Most mistakes are made with the last of these. \
If you wait a little longer than you think you should, the crust will be darker, \
the bread will be lighter, and your guests will ask for more." \
    -c:a libopus -b:a 20k

say voicemail.m4a "Hello, this is a message for the repair shop. \
My bicycle makes a strange noise when I ride up the hill. \
It sounds like a small bird that is not happy. \
Please call me back when you have found the reason." \
    -c:a aac -b:a 32k

say meeting.ogg "Let us begin with the good news. \
The new kitchen is finished, and it looks better than the drawing. \
The bad news is that nobody has ordered the chairs. \
Who can drive to the market on Thursday? \
Then we have time to talk about the open window." \
    -c:a libvorbis -q:a 1

printf '\n]\n' >>manifest.json
