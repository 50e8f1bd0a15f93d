# healthfm in a container. Nothing is downloaded when it runs: mount weights and data, and keep HEALTHFM_HOME on a volume.
#
#   docker build -t healthfm .                                    # EXTRAS=models by default; --build-arg EXTRAS=all for slides, DICOM, signals
#   docker run --rm --network none -v "$PWD:/work" -v healthfm:/home/healthfm/store healthfm evaluate hf:./my-model ./ward
FROM python:3.12-slim

ARG EXTRAS=models
ARG UID=1000

RUN useradd --create-home --uid "${UID}" healthfm
COPY pyproject.toml constraints.txt README.md LICENSE /opt/healthfm/
COPY src /opt/healthfm/src
RUN python -m pip install --no-cache-dir -c /opt/healthfm/constraints.txt "/opt/healthfm[${EXTRAS}]"

USER healthfm
ENV HEALTHFM_HOME=/home/healthfm/store
RUN mkdir /home/healthfm/store
WORKDIR /work
ENTRYPOINT ["healthfm"]
CMD ["--help"]
